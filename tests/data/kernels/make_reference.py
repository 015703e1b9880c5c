#!/usr/bin/env python3
"""Reference values of the kernels' tests, computed by PyTorch (2.13): writes reference.json beside itself.

Inputs are stored too, so that the tests need no random number generator of PyTorch's.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(1)


def flat(t):
    return [float(f"{x:.9g}") for x in t.detach().double().flatten().tolist()]


def leaf(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).requires_grad_()


out = {}

# layer norm: 3 rows of 7
x, scale, shift, dy = leaf(3, 7), leaf(7), leaf(7), torch.randn(3, 7)
y = F.layer_norm(x, (7,), scale, shift, 1e-5)
y.backward(dy)
out["layer_norm"] = dict(x=flat(x), scale=flat(scale), shift=flat(shift), dy=flat(dy), y=flat(y), dx=flat(x.grad),
                         dscale=flat(scale.grad), dshift=flat(shift.grad))

# gelu
z = torch.cat([torch.linspace(-6, 6, 41), torch.tensor([-20.0, -11.0, 11.0, 20.0, 0.0])]).requires_grad_()
y = F.gelu(z, approximate="tanh")
y.sum().backward()
out["gelu"] = dict(z=flat(z), y=flat(y), slope=flat(z.grad))

# attention: B 2, T 5, N 3, H 4
for causal in (False, True):
    qkv, dy = leaf(2, 5, 3, 3, 4), torch.randn(2, 5, 3, 4)
    q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
    y.backward(dy)
    scores = q @ k.transpose(-1, -2) / 2
    if causal:
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    out["attention_causal" if causal else "attention_full"] = dict(
        qkv=flat(qkv), dy=flat(dy), y=flat(y), lse=flat(torch.logsumexp(scores, -1)), dqkv=flat(qkv.grad))

# AdamW and SGD: 3 steps, gradient scale 0.5
for name in ("adamw", "sgd"):
    p = leaf(11)
    start = flat(p)
    grads = [torch.randn(11) for _ in range(3)]
    if name == "adamw":
        o = torch.optim.AdamW([p], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    else:
        o = torch.optim.SGD([p], lr=0.01, momentum=0.9, weight_decay=0.1)
    steps = []
    for g in grads:
        p.grad = 0.5 * g
        o.step()
        steps.append(flat(p))
    out[name] = dict(p=start, g=[flat(g) for g in grads], steps=steps)

# embedding with positions: vocabulary 6, D 3, B 2, T 4
table, positions, dx = leaf(6, 3), leaf(5, 3), torch.randn(2, 4, 3)
ids = torch.tensor([[1, 5, 1, 0], [3, 1, 1, 5]])
x = table[ids] + positions[:4]
x.backward(dx)
out["embedding"] = dict(table=flat(table), positions=flat(positions), ids=ids.flatten().tolist(), dx=flat(dx),
                        x=flat(x), dtable=flat(table.grad), dpositions=flat(positions.grad))

# cross-entropy from its statistics: 6 rows of 5, one ignored
logits, targets = torch.randn(6, 5), torch.tensor([0, 4, -100, 2, 2, 1])
top = logits.max(-1).values
out["loss_sum"] = dict(max=flat(top), sum=flat((logits - top[:, None]).exp().sum(-1)),
                       target=flat(logits.gather(1, targets.clamp(min=0)[:, None])[:, 0]), targets=targets.tolist(),
                       loss=[float(F.cross_entropy(logits.double(), targets, reduction="sum")), 5.0])

path = pathlib.Path(__file__).with_name("reference.json")
path.write_text("{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in out.items()) + "\n}\n")
