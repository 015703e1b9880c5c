#!/usr/bin/env python3
"""Optional check of an exported directory with other people's software (torch, transformers; not part of the tests):

    tests/support/check_hf_export.py EXPORTED [ORIGINAL]

transformers must load EXPORTED without complaint and compute finite logits; with ORIGINAL (a Hugging Face GPT-2
directory) every weight must be the same, bit by bit, and so must the logits.
"""
import sys

import torch
import transformers


def load(path):
    model, info = transformers.GPT2LMHeadModel.from_pretrained(path, output_loading_info=True, dtype=torch.float32)
    bad = {k: v for k, v in info.items() if v}
    if bad:
        sys.exit(f"{path}: transformers reports {bad}")
    return model.eval()


def logits_of(model):
    torch.manual_seed(0)
    tokens = torch.randint(model.config.vocab_size, (2, min(16, model.config.n_positions)))
    with torch.no_grad():
        return model(tokens).logits


def main():
    ours = load(sys.argv[1])
    logits = logits_of(ours)
    if not torch.isfinite(logits).all():
        sys.exit("logits are not finite")
    print(f"loaded: {sum(p.numel() for p in ours.parameters())} parameters, logits {tuple(logits.shape)}")
    if len(sys.argv) > 2:
        theirs = load(sys.argv[2])
        for name, p in theirs.state_dict().items():
            if not torch.equal(p.view(torch.int32), ours.state_dict()[name].view(torch.int32)):
                sys.exit(f"{name} differs")
        if not torch.equal(logits, logits_of(theirs)):
            sys.exit("logits differ")
        print("same weights and logits as", sys.argv[2])


main()
