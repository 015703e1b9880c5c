"""Makes tokenizer_small.json (byte-level BPE of GPT-2's kind, trained here) and tokenizer_cases.json (texts with the ids that the
tokenizers library gives). Usage: python make_tokenizer_cases.py   (needs: pip install tokenizers)"""
import glob
import json
import os
import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

here = os.path.dirname(os.path.abspath(__file__))
tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tok.decoder = decoders.ByteLevel()
tok.post_processor = processors.ByteLevel(trim_offsets=False)
corpus = [open(f, errors="replace").read() for f in sorted(glob.glob("/usr/share/common-licenses/*")) if os.path.isfile(f)]
corpus.append("你好，世界。こんにちは世界。 Привет, мир! مرحبا بالعالم 👩‍👩‍👧‍👦 😀 naïve café ﬁ x² ①② " * 20)
tok.train_from_iterator(corpus, trainers.BpeTrainer(
    vocab_size=700, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
tok.save(os.path.join(here, "tokenizer_small.json"), pretty=False)

texts = [
    "", " ", "  ", "\n", "\r\n", "\t\t x", "a", " a", "  a", "a  b", "a   ", "I'll they're you've we'd I'm it's DON'T don'T 's",
    "Hello, world!", "THE GNU GENERAL PUBLIC LICENSE", "x=1;y=22;z=333 4444", "½ ² ³ ① Ⅷ ٣ ४ 五", "naïve café e\u0301",
    "你好，世界。", "こんにちは世界", "Привет, мир!", "مرحبا بالعالم", "👩‍👩‍👧‍👦 family", "😀😃😄", "\u00a0nbsp\u00a0\u00a0x", "\u2003em space \u3000ideographic",
    "\u180emongolian\u180e x", "\u200bzero width\u200b", "\u0085next line\u0085 x", "\u2028line\u2029para", "\ufeffbom", "a\u0000b\u0001c\u001c\u001d d",
    "<|endoftext|>", "a<|endoftext|>b <|endoftext|><|endoftext|>", "<|endoftext", "<|endoftext|", "tail <|endoftext|> ",
    "\U0001F1E9\U0001F1EA flags", "ﬁ ligature ǅ ǆ", "ªº modifiers ʰ", "mixed123abc456", "under_score __init__", "end with spaces     ",
    "a" * 300, " " * 300, "ab" * 200, "\n\n\n  \n x", "\u0300\u0301 combining first", "100,000.00 $5 €6 £7", "\U0010ffff\ue000 private",
    "tab\tand\x0bvt\x0cff", "'", "''", "'s't", " 's", "क्षत्रिय", "ก็ไทย", "한국어 텍스트",
]
random.seed(5)
pools = ["abc XYZ  \n\t", "0123456789٣४½", "'sltdm", "äöüßéñ", "你好世界", "😀👍🏽\u200d", "\u00a0\u2003\u3000\u0085", "!?.,;:-_()[]"]
for _ in range(60):
    texts.append("".join(random.choice(random.choice(pools)) for _ in range(random.randint(1, 40))))
cases = [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in texts]
for c in cases:
    assert tok.decode(c["ids"], skip_special_tokens=False) == c["text"], c
json.dump(cases, open(os.path.join(here, "tokenizer_cases.json"), "w"), ensure_ascii=True, separators=(",", ":"))
print(len(cases), "cases")
