"""Makes parity_small.json for tests/unit/train/parity_test.cpp: a small GPT-2 in PyTorch, in f64, over weights and tokens that
both sides compute from formulas. Holds logits, gradients of the first step, losses and gradient norms of 50 AdamW steps with
clipping and a schedule, and where the weights end. Of a large tensor: its norm and 8 projections on vectors of signs, whose
root mean square difference estimates the norm of a difference.

    python tests/data/train/make_parity.py
"""
import json
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../../../perf/peers"))
from pytorch_gpt2 import GPT2  # noqa: E402

from rounding import short

s = dict(layers=2, hidden=128, heads=4, ff=320, vocab=257, context=24, samples=20, batch=5, micro=2, steps=50, lr=2e-3, min_lr=2e-4,
         warmup_steps=5, clip=2.0, weight_decay=0.1)


def scramble(x):
    x = np.asarray(x, dtype=np.uint32)
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def tokens():
    v, out = s["vocab"], []
    for i in range(s["samples"] * s["context"] + 1):
        h = int(scramble((i + 0x9E3779B9) % 2**32))
        rare = ((h >> 4) % v) * ((h >> 16) % v) // v
        out.append((31 * out[i - 1] + 17 * out[i - 2] + 7) % 97 if i >= 2 and h % 10 < 7 else rare)
    return np.array(out)


def formula(index, name, count):
    """Uniform around 0; around 1 for the scales of norms."""
    u = scramble((np.arange(count, dtype=np.uint64) + int(scramble(index + 1))) % 2**32) / 2.0**32 - 0.5
    if name.endswith("norm.weight"):
        return (1 + 0.2 * u).astype(np.float32)
    return ((0.05 if name.endswith("bias") else 0.07) * u).astype(np.float32)


def projections(x):
    signs = scramble((np.arange(x.size, dtype=np.uint64) + 77777) % 2**32)
    return [float(np.dot(1.0 - 2.0 * ((signs >> np.uint32(j)) & 1), x.reshape(-1))) for j in range(8)]


torch.set_num_threads(1)
model = GPT2(s["layers"], s["hidden"], s["heads"], s["vocab"], s["context"], s["ff"]).double()
layer = {"ln_1": "attn.norm", "c_attn": "attn.qkv", "c_proj": "attn.out", "ln_2": "mlp.norm", "c_fc": "mlp.fc", "m_proj": "mlp.proj"}


def our_name(name):
    p = name.split(".")
    if p[0] == "h":
        return f"blocks.{p[1]}.{layer[p[2]]}.{p[3]}"
    return {"wte": "embed.tokens", "wpe": "embed.positions", "ln_f": "final.norm"}[p[0]] + "." + p[1]


parameters = [(our_name(n), p) for n, p in model.named_parameters()]
initial = {}
with torch.no_grad():
    for k, (name, p) in enumerate(parameters):
        initial[name] = formula(k, name, p.numel()).astype(np.float64)
        p.copy_(torch.from_numpy(initial[name]).view(p.shape))

stream, T = tokens(), s["context"]
ignored = scramble(3 * np.arange(len(stream)) + 1) % 11 == 0


def batch(step):
    at = np.array([((step - 1) * s["batch"] + i) % s["samples"] * T for i in range(s["batch"])])[:, None] + np.arange(T)
    return torch.from_numpy(stream[at]), torch.from_numpy(np.where(ignored[at], -1, stream[at + 1]))


def learning_rate(step):
    if step < s["warmup_steps"]:
        return s["lr"] * step / s["warmup_steps"]
    if step >= s["steps"]:
        return s["min_lr"]
    share = 0.5 * (1 + math.cos(math.pi * (step - s["warmup_steps"]) / (s["steps"] - s["warmup_steps"])))
    return s["min_lr"] + share * (s["lr"] - s["min_lr"])


out = {"made_by": f"make_parity.py, torch {torch.__version__}", "settings": s}
with torch.no_grad():
    logits = model(batch(1)[0])[0].numpy()
out["logits"] = [{"position": t, "norm": float(np.linalg.norm(logits[t])), "every_16th": logits[t][::16].tolist(),
                  "projections": projections(logits[t])} for t in (0, 7, T - 1)]
optimizer = torch.optim.AdamW([{"params": [p for _, p in parameters if p.dim() == 2], "weight_decay": s["weight_decay"]},
                               {"params": [p for _, p in parameters if p.dim() == 1], "weight_decay": 0.0}],
                              betas=(0.9, 0.95), eps=1e-8)
losses, norms = [], []
for step in range(1, s["steps"] + 1):
    x, y = batch(step)
    loss = F.cross_entropy(model(x).view(-1, s["vocab"]), y.view(-1), ignore_index=-1)
    loss.backward()
    if step == 1:
        out["gradients"] = [{"name": n, "norm": float(p.grad.norm()), "projections": projections(p.grad.numpy()),
                             "elements": p.grad.reshape(-1)[:: max(1, p.numel() // 3)][:3].tolist()} for n, p in parameters]
    norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), s["clip"])))
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    losses.append(loss.item())
out["losses"], out["grad_norms"] = losses, norms
out["moved"] = [{"name": n, "norm": float(np.linalg.norm(p.detach().numpy().reshape(-1) - initial[n])),
                 "projections": projections(p.detach().numpy().reshape(-1) - initial[n])} for n, p in parameters]
clipped = sum(n > s["clip"] for n in norms)
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}; {clipped} of {len(norms)} steps clipped; largest loss {max(losses):.4f}")
assert losses[-1] < 0.8 * losses[0] and 5 < clipped < len(norms) - 5


with open(os.path.join(here, "parity_small.json"), "w") as f:
    f.write("{\n" + ",\n".join(f' "{k}": ' + (json.dumps(short(v, 9)) if not (isinstance(v, list) and isinstance(v[0], dict)) else
            "[\n  " + ",\n  ".join(json.dumps(short(e, 9)) for e in v) + "\n ]") for k, v in out.items()) + "\n}\n")
