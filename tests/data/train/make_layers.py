"""Makes layers_small.json for tests/unit/train/layers_parity_test.cpp: two small networks in PyTorch, in f64, over weights and data
that both sides compute from formulas: a classifier (some labels ignored) and a regression, each with AdamW and with SGD. Holds
the gradients of the first step and the losses and gradient norms of 20 steps.

    python tests/data/train/make_layers.py
"""
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

from rounding import short

here = os.path.dirname(os.path.abspath(__file__))
SAMPLES, BATCH, STEPS, LR = 23, 10, 20, {"adamw": 3e-3, "sgd": 0.05}
NETWORKS = {
    "cross_entropy": dict(input=13, layers=["linear 17", "relu", "layer_norm", "linear 5"]),
    "mse": dict(input=7, layers=["linear 9", "gelu", "linear 3"]),
}


def scramble(x):
    x = np.asarray(x, dtype=np.uint32)
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def uniform(key, count):
    """In [-1, 1), exact in f32."""
    h = scramble((np.arange(count, dtype=np.uint64) + int(scramble(key))) % 2**32)
    return ((h >> np.uint32(8)).astype(np.float64) / 2**23 - 1).astype(np.float32).astype(np.float64)


def network(s):
    torch.manual_seed(0)
    width, modules = s["input"], []
    for layer in s["layers"]:
        op, *out = layer.split()
        if op == "linear":
            modules.append(torch.nn.Linear(width, int(out[0])))
            width = int(out[0])
        else:
            modules.append({"relu": torch.nn.ReLU(), "gelu": torch.nn.GELU(approximate="tanh")}.get(op) or torch.nn.LayerNorm(width))
    net = torch.nn.Sequential(*modules).double()
    with torch.no_grad():
        for k, p in enumerate(net.parameters()):
            values = 0.4 * uniform(k + 1, p.numel()).astype(np.float32)
            p.copy_(torch.from_numpy(np.float32(values).astype(np.float64)).view(p.shape))
    return net, width


def name_of(parameter):
    i, tensor = parameter.split(".")
    return f"layer{i}.{tensor}"


out = {"made_by": f"make_layers.py, torch {torch.__version__}", "samples": SAMPLES, "batch": BATCH, "lr": LR, "runs": []}
for loss, s in NETWORKS.items():
    for kind in ("adamw", "sgd"):
        net, outputs = network(s)
        x = torch.from_numpy(uniform(100, SAMPLES * s["input"])).view(SAMPLES, -1)
        if loss == "mse":
            y = torch.from_numpy(uniform(200, SAMPLES * outputs)).view(SAMPLES, -1)
        else:
            i = np.arange(SAMPLES)
            label = (scramble(300 + i) % outputs).astype(np.int64)
            y = torch.from_numpy(np.where(scramble(400 + i) % 5 == 0, -1, label))
            assert (y < 0).sum() > 0
        decay = [p for n, p in net.named_parameters() if p.dim() == 2]
        plain = [p for n, p in net.named_parameters() if p.dim() == 1]
        groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
        opt = (torch.optim.AdamW(groups, lr=LR[kind], betas=(0.9, 0.95), eps=1e-8) if kind == "adamw"
               else torch.optim.SGD(groups, lr=LR[kind], momentum=0.9))
        run = {"loss": loss, "optimizer": kind, "losses": [], "grad_norms": []}
        for step in range(STEPS):
            at = torch.arange(step * BATCH, (step + 1) * BATCH) % SAMPLES
            z = net(x[at])
            value = F.mse_loss(z, y[at]) if loss == "mse" else F.cross_entropy(z, y[at], ignore_index=-1)
            opt.zero_grad()
            value.backward()
            if step == 0:
                run["gradients"] = {name_of(n): p.grad.flatten().tolist() for n, p in net.named_parameters()}
            run["losses"].append(value.item())
            run["grad_norms"].append(float(torch.stack([p.grad.norm() for p in net.parameters()]).norm()))
            opt.step()
        print(loss, kind, run["losses"][0], "->", run["losses"][-1])
        if kind != "adamw":
            del run["gradients"]  # the same
        out["runs"].append(run)


with open(os.path.join(here, "layers_small.json"), "w") as f:
    f.write(json.dumps(short(out, 10), indent=None, separators=(",", ":")).replace('{"loss"', '\n{"loss"') + "\n")
