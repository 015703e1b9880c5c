"""Compares Lamina with PyTorch on the same safetensors weights and token shard: logits, gradients, and the losses of a training run.

  python tests/support/check_parity.py [--size small|124m] [--precision f32|bf16] [--steps 50] [--build build/release]
Needs torch, numpy, safetensors. Exits with 1 when a bound is broken. Bounds: logits 1e-4 (of their largest magnitude), gradients 1e-4 of the
larger of their own norm and 1e-3 of the global norm, losses 1e-4 relative (bf16: 1e-2) over all steps, which fall by at least 20 %. Losses
and gradient norms of a bf16 run are compared with PyTorch's in f32: its bf16 keeps the residual stream in bf16, which says less.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file

here = os.path.dirname(os.path.abspath(__file__))
top = os.path.dirname(os.path.dirname(here))
sizes = {
    "small": dict(layers=3, hidden=128, heads=4, vocab=503, context=48, batch=6, micro=2, lr=1e-3),
    "124m": dict(layers=12, hidden=768, heads=12, vocab=50257, context=64, batch=4, micro=4, lr=6e-4),
}

o = argparse.ArgumentParser()
o.add_argument("--size", choices=sizes, default="small")
o.add_argument("--precision", choices=["f32", "bf16"], default="f32")
o.add_argument("--steps", type=int, default=50)
o.add_argument("--build", default=os.path.join(top, "build/release"))
o.add_argument("--keep", help="directory for the files instead of a temporary one")
o = o.parse_args()
s = sizes[o.size]
work = o.keep or tempfile.mkdtemp(prefix="lamina-parity-")
os.makedirs(work, exist_ok=True)

# Tokens with structure (each often follows from the two before), so that the loss falls.
rng = np.random.default_rng(7)
count = s["context"] * 64 + 1
tokens = rng.zipf(1.4, size=count) % s["vocab"]
for i in range(2, count):
    if rng.random() < 0.7:
        tokens[i] = (tokens[i - 1] * 31 + tokens[i - 2] * 17 + 7) % min(s["vocab"], 97)
shard = os.path.join(work, "train.bin")
tokens.astype(np.uint16).tofile(shard)

peer = [sys.executable, os.path.join(top, "perf/peers/pytorch_gpt2.py"), "--tokens", shard, "--lr", str(s["lr"]), "--warmup-steps", "5",
        "--decay-steps", str(o.steps), "--clip", "1.0", "--precision", o.precision]
for key in ("layers", "hidden", "heads", "vocab", "context", "batch", "micro"):
    peer += ["--" + key, str(s[key])]
weights = os.path.join(work, "hf")
subprocess.run(peer + ["--save-hugging-face", weights], check=True)
run = os.path.join(work, "run.toml")
with open(run, "w") as f:
    f.write(f"""[run]
dir = "{work}/run"
steps = {o.steps}
[model]
kind = "gpt"
init = "{weights}"
context = {s['context']}
[data]
kind = "tokens"
train = ["{shard}"]
shuffle = false
[batch]
global = {s['batch']}
micro = {s['micro']}
[optimizer]
lr = {s['lr']}
[lr_schedule]
warmup_steps = 5
[precision]
compute = "{o.precision}"
[checkpoint]
every_steps = 0
""")

bad = []


def report(what, value, bound):
    print(f"{what:44s} {value:.3e}  (bound {bound:.0e}){'' if value <= bound else '   BROKEN'}")
    if not value <= bound:
        bad.append(what)


subprocess.run([os.path.join(o.build, "tests/dump_step"), run, work], check=True)
subprocess.run(peer + ["--weights", weights, "--dump-gradients", os.path.join(work, "torch.npz")], check=True)
theirs = np.load(os.path.join(work, "torch.npz"))
ours = load_file(os.path.join(work, "gradients.safetensors"))
logits = load_file(os.path.join(work, "logits.safetensors"))["logits"]
reference = theirs["logits"][0]
report("logits, of the largest", np.abs(logits - reference).max() / np.abs(reference).max(), 1e-4 if o.precision == "f32" else 3e-2)

names = {"qkv": "c_attn", "out": "c_proj", "fc": "c_fc", "proj": "m_proj"}


def torch_name(name):
    parts = name.split(".")
    if parts[0] == "embed":
        return {"tokens": "wte", "positions": "wpe"}[parts[1]] + ".weight"
    if parts[0] == "final":
        return "ln_f." + parts[2]
    where, what, kind = parts[2], parts[3], parts[4]
    return f"h.{parts[1]}." + (("ln_1" if where == "attn" else "ln_2") if what == "norm" else names[what]) + "." + kind


total = np.sqrt(sum((theirs[k].astype(np.float64) ** 2).sum() for k in theirs.files if k not in ("logits", "loss")))
worst = max((np.linalg.norm((g.reshape(-1) - theirs[torch_name(n)].reshape(-1)).astype(np.float64)) /
             max(np.linalg.norm(theirs[torch_name(n)].astype(np.float64)), 1e-3 * total), n) for n, g in ours.items())
report(f"gradients, worst of {len(ours)}: {worst[1]}", worst[0], 1e-4 if o.precision == "f32" else 5e-2)

torch_run = json.loads(subprocess.run(peer + ["--precision", "f32", "--weights", weights, "--steps", str(o.steps)], check=True, capture_output=True, text=True).stdout.splitlines()[-1])
subprocess.run([os.path.join(o.build, "apps/lamina"), "train", run, "--fresh"], check=True, stderr=subprocess.DEVNULL)
lines = [json.loads(line) for line in open(os.path.join(work, "run/metrics.jsonl"))]
losses = np.array([m["loss"] for m in lines])
norms = np.array([m["grad_norm"] for m in lines])
expected = np.array(torch_run["losses"])
print(f"loss {losses[0]:.6f} -> {losses[-1]:.6f} (PyTorch {expected[0]:.6f} -> {expected[-1]:.6f})")
report(f"loss over {o.steps} steps, relative", (np.abs(losses - expected) / expected).max(), 1e-4 if o.precision == "f32" else 1e-2)
report("gradient norm, relative", (np.abs(norms - np.array(torch_run["grad_norms"])) / norms).max(), 1e-2 if o.precision == "f32" else 1e-1)
report("last loss / first loss", losses[-1] / losses[0], 0.8)
if o.keep:
    json.dump({"losses": torch_run["losses"], "grad_norms": torch_run["grad_norms"]}, open(os.path.join(work, "torch_losses.json"), "w"))
print("PARITY BROKEN: " + ", ".join(bad) if bad else "parity holds")
sys.exit(1 if bad else 0)
