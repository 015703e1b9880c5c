#!/usr/bin/env python3
"""Reference values of the matrix products and the head loss, computed by PyTorch (2.13): writes products.json beside
itself. Inputs are stored too."""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(2)


def flat(t):
    return [float(f"{x:.9g}") for x in t.detach().double().flatten().tolist()]


out = {}

# linear and its gradients: 3 rows, 4 outputs, 5 inputs
x, w, bias, dy = torch.randn(3, 5), torch.randn(4, 5), torch.randn(4), torch.randn(3, 4)
for t in (x, w, bias):
    t.requires_grad_()
y = F.linear(x, w, bias)
y.backward(dy)
out["linear"] = dict(x=flat(x), w=flat(w), bias=flat(bias), dy=flat(dy), y=flat(y),
                     activated=flat(F.gelu(y, approximate="tanh")), dx=flat(x.grad), dw=flat(w.grad),
                     dbias=flat(bias.grad))

# head and cross-entropy, summed over rows: 5 rows, 6 features, 11 words, one row ignored
x, w, bias = torch.randn(5, 6), torch.randn(11, 6), torch.randn(11)
targets = torch.tensor([3, 10, -100, 0, 3])
for t in (x, w, bias):
    t.requires_grad_()
logits = F.linear(x, w, bias)
loss = F.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
loss.backward()
top = logits.max(dim=1).values
out["head_loss"] = dict(x=flat(x), w=flat(w), bias=flat(bias), targets=targets.tolist(), loss=[loss.item(), 4],
                        max=flat(top), sum=flat(torch.exp(logits - top[:, None]).sum(dim=1)),
                        target=[logits[i, t].item() if t >= 0 else 0.0 for i, t in enumerate(targets)],
                        dx=flat(x.grad), dw=flat(w.grad), dbias=flat(bias.grad))

path = pathlib.Path(__file__).with_name("products.json")
path.write_text(json.dumps(out, indent=1) + "\n")
