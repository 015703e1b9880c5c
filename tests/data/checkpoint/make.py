#!/usr/bin/env python3
"""Makes the reference files of this folder with torch, transformers and safetensors.

gpt2_tiny/      a random GPT-2 as transformers saves it
gpt2_tiny_bare/ the same weights without the "transformer." prefix, with the old buffers, in two shards
lamina.safetensors  the same parameters under Lamina's names and in Lamina's shapes
dtypes.safetensors  the element types that convert, with odd values, a scalar and an empty tensor
"""
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
V, P, C, N, F, L = 11, 6, 8, 2, 20, 2
H = C // N
torch.manual_seed(1)

config = transformers.GPT2Config(vocab_size=V, n_positions=P, n_embd=C, n_head=N, n_layer=L, n_inner=F,
                                 bos_token_id=0, eos_token_id=0)
model = transformers.GPT2LMHeadModel(config)
with torch.no_grad():
    for p in model.parameters():
        p.copy_(torch.randn_like(p))
for name in ("gpt2_tiny", "gpt2_tiny_bare"):
    shutil.rmtree(here / name, ignore_errors=True)
model.save_pretrained(here / "gpt2_tiny")

weights = {k.removeprefix("transformer."): v for k, v in model.state_dict().items() if k != "lm_head.weight"}
ours = {"embed.tokens.weight": weights["wte.weight"], "embed.positions.weight": weights["wpe.weight"],
        "final.norm.weight": weights["ln_f.weight"], "final.norm.bias": weights["ln_f.bias"]}
for i in range(L):
    h, b = f"h.{i}.", f"blocks.{i}."
    # torch's own split of the fused projection: q, k, v along the last axis, then heads
    wq, wk, wv = weights[h + "attn.c_attn.weight"].split(C, dim=1)
    bq, bk, bv = weights[h + "attn.c_attn.bias"].split(C)
    ours[b + "attn.qkv.weight"] = torch.stack([w.view(C, N, H).permute(1, 2, 0) for w in (wq, wk, wv)])
    ours[b + "attn.qkv.bias"] = torch.stack([x.view(N, H) for x in (bq, bk, bv)])
    ours[b + "attn.out.weight"] = weights[h + "attn.c_proj.weight"].view(N, H, C).permute(2, 0, 1)
    ours[b + "attn.out.bias"] = weights[h + "attn.c_proj.bias"]
    ours[b + "mlp.fc.weight"] = weights[h + "mlp.c_fc.weight"].T
    ours[b + "mlp.fc.bias"] = weights[h + "mlp.c_fc.bias"]
    ours[b + "mlp.proj.weight"] = weights[h + "mlp.c_proj.weight"].T
    ours[b + "mlp.proj.bias"] = weights[h + "mlp.c_proj.bias"]
    for norm, ln in (("attn.norm", "ln_1"), ("mlp.norm", "ln_2")):
        ours[b + norm + ".weight"] = weights[h + ln + ".weight"]
        ours[b + norm + ".bias"] = weights[h + ln + ".bias"]
save_file({k: v.contiguous() for k, v in ours.items()}, here / "lamina.safetensors")

bare = dict(weights)
for i in range(L):
    bare[f"h.{i}.attn.bias"] = torch.tril(torch.ones(P, P)).view(1, 1, P, P)
    bare[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
folder = here / "gpt2_tiny_bare"
folder.mkdir()
names = sorted(bare)
shards = [names[: len(names) // 2], names[len(names) // 2:]]
weight_map = {}
for k, part in enumerate(shards):
    file = f"model-{k + 1:05d}-of-{len(shards):05d}.safetensors"
    save_file({n: bare[n].contiguous() for n in part}, folder / file, metadata={"format": "pt"})
    weight_map |= {n: file for n in part}
total = sum(t.numel() * t.element_size() for t in bare.values())
(folder / "model.safetensors.index.json").write_text(
    json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=1))
shutil.copy(here / "gpt2_tiny" / "config.json", folder)

odd = [0.0, -0.0, 1.0, -2.5, 65504.0, 6.103515625e-05, 5.9604645e-08, -1.1920929e-07, float("inf"), float("nan"), 1 / 3]
save_file({"f16": torch.tensor(odd, dtype=torch.float16), "bf16": torch.tensor(odd, dtype=torch.bfloat16),
           "f32": torch.tensor(odd), "f64": torch.tensor(odd, dtype=torch.float64),
           "f16.as_f32": torch.tensor(odd, dtype=torch.float16).float(),
           "bf16.as_f32": torch.tensor(odd, dtype=torch.bfloat16).float(),
           "f64.as_f32": torch.tensor(odd, dtype=torch.float64).float(),
           "scalar": torch.tensor(3.0), "empty": torch.zeros(0, 4), "i64": torch.tensor([1, 2]),
           "bool": torch.tensor([True])}, here / "dtypes.safetensors")
