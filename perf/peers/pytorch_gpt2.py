"""GPT-2 training in PyTorch, tuned as well as we can: the peer of `lamina bench step` and of the parity checks.

Same model (pre-norm, tanh GELU, tied head), data order (samples i*T .. i*T+T of a u16 token file, in order), batch, AdamW with
decay on matrices and embeddings, clip_grad_norm_. Prints one JSON document.

  python pytorch_gpt2.py --tokens train.bin --batch 4 --context 256 --steps 5 --precision bf16 --compile
  python pytorch_gpt2.py --tokens train.bin --batch 4 --context 256 --ranks 2 --threads 1       DistributedDataParallel over gloo
  python pytorch_gpt2.py --weights DIR --tokens train.bin --context 64 --steps 50 --warmup-steps 5 --decay-steps 50
"""
import argparse
import json
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, d, heads, ff):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.c_attn, self.c_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.c_fc, self.m_proj = nn.Linear(d, ff), nn.Linear(ff, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d)
        x = x + self.c_proj(y)
        return x + self.m_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, layers, d, heads, vocab, context, ff):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, d), nn.Embedding(context, d)
        self.h = nn.ModuleList(Block(d, heads, ff) for _ in range(layers))
        self.ln_f = nn.LayerNorm(d)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * layers) if "proj" in name else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


def load_hugging_face(model, directory):
    """Weights of a safetensors file with GPT-2's names; Conv1D is [in, out]."""
    from safetensors.torch import load_file

    path = directory if os.path.isfile(directory) else os.path.join(directory, "model.safetensors")
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(path).items()}
    names = {"attn.c_attn": "c_attn", "attn.c_proj": "c_proj", "mlp.c_fc": "c_fc", "mlp.c_proj": "m_proj"}
    with torch.no_grad():
        for name, p in model.named_parameters():
            parts = name.split(".")
            source = name
            if parts[0] == "h":
                for theirs, ours in names.items():
                    if parts[2] == ours:
                        source = f"h.{parts[1]}.{theirs}.{parts[3]}"
            value = tensors[source].float()
            if parts[0] == "h" and p.dim() == 2:
                value = value.t()
            p.copy_(value[: p.shape[0]])


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--layers", type=int, default=12)
    a.add_argument("--hidden", type=int, default=768)
    a.add_argument("--heads", type=int, default=12)
    a.add_argument("--ff", type=int)
    a.add_argument("--vocab", type=int, default=50257)
    a.add_argument("--context", type=int, default=256)
    a.add_argument("--batch", type=int, default=4)
    a.add_argument("--micro", type=int)
    a.add_argument("--steps", type=int, default=5)
    a.add_argument("--skip", type=int, default=1, help="steps that are not timed")
    a.add_argument("--precision", choices=["f32", "autocast", "bf16"], default="f32")
    a.add_argument("--compile", action="store_true")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--ranks", type=int, default=1, help="processes of DistributedDataParallel (gloo); each takes batch / ranks samples")
    a.add_argument("--lr", type=float, default=6e-4)
    a.add_argument("--min-lr", type=float)
    a.add_argument("--warmup-steps", type=int, default=0)
    a.add_argument("--decay-steps", type=int, default=0, help="0: constant")
    a.add_argument("--weight-decay", type=float, default=0.1)
    a.add_argument("--clip", type=float, default=1.0)
    a.add_argument("--tokens", required=True)
    a.add_argument("--weights")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--dump-gradients", help="write the gradients and logits of the first step to this .npz file and stop")
    a.add_argument("--save-hugging-face", help="write the initial weights in GPT-2's names to this directory and stop")
    o = a.parse_args()
    o.ff = o.ff or 4 * o.hidden
    if o.ranks > 1:
        import torch.multiprocessing

        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(20000 + os.getpid() % 20000))
        return torch.multiprocessing.spawn(replica, args=(o,), nprocs=o.ranks)
    train(o, 0)


def replica(rank, o):
    torch.distributed.init_process_group("gloo", rank=rank, world_size=o.ranks)
    train(o, rank)
    torch.distributed.destroy_process_group()


def train(o, rank):
    mine = o.batch // o.ranks  # samples of this process
    o.micro = o.micro or mine
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    torch.set_float32_matmul_precision("highest")
    model = GPT2(o.layers, o.hidden, o.heads, o.vocab, o.context, o.ff)
    if o.weights:
        load_hugging_face(model, o.weights)
    if o.save_hugging_face:
        return save_hugging_face(model, o)

    data = np.memmap(o.tokens, dtype=np.uint16, mode="r")
    samples = (len(data) - 1) // o.context

    def batch(step):
        ids = [((step - 1) * o.batch + rank * mine + i) % samples for i in range(mine)]
        x = np.stack([data[i * o.context : i * o.context + o.context + 1] for i in ids]).astype(np.int64)
        x = torch.from_numpy(x)
        return x[:, :-1].contiguous(), x[:, 1:].contiguous()

    # f32 master weights in every precision; bf16: a working copy that the optimizer refreshes.
    working = model
    if o.precision == "bf16":
        import copy

        working = copy.deepcopy(model).to(torch.bfloat16)
    if o.ranks > 1:  # gradients are averaged over the processes while the backward goes on
        working = torch.nn.parallel.DistributedDataParallel(working, gradient_as_bucket_view=True)
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": o.weight_decay}, {"params": rest, "weight_decay": 0.0}],
                                  lr=o.lr, betas=(0.9, 0.95), eps=1e-8, fused=True)

    def loss_of(x, y):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=o.precision == "autocast"):
            logits = working(x)
        return F.cross_entropy(logits.float().view(-1, o.vocab), y.view(-1), reduction="sum")

    run = torch.compile(loss_of) if o.compile else loss_of

    def learning_rate(step):
        low = o.min_lr if o.min_lr is not None else o.lr / 10
        if step < o.warmup_steps:
            return o.lr * step / o.warmup_steps
        if o.decay_steps == 0:
            return o.lr
        if step >= o.decay_steps:
            return low
        return low + 0.5 * (1 + math.cos(math.pi * (step - o.warmup_steps) / (o.decay_steps - o.warmup_steps))) * (o.lr - low)

    times, losses, norms = [], [], []
    for step in range(1, o.steps + 1):
        x, y = batch(step)
        start = time.perf_counter()
        total = 0.0
        for m in range(0, mine, o.micro):
            loss = run(x[m : m + o.micro], y[m : m + o.micro]) / y.numel()
            loss.backward()
            total += loss.item()
        if o.precision == "bf16":
            for p, w in zip(model.parameters(), working.parameters()):
                p.grad = w.grad.float()
                w.grad = None
        if o.dump_gradients:
            with torch.no_grad():
                logits = working(x).float().numpy()
            np.savez(o.dump_gradients, logits=logits, loss=total,
                     **{n: p.grad.numpy() for n, p in model.named_parameters()})
            break
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), o.clip)) if o.clip > 0 else 0.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if o.precision == "bf16":
            with torch.no_grad():
                for p, w in zip(model.parameters(), working.parameters()):
                    w.copy_(p)
        times.append(time.perf_counter() - start)
        losses.append(total)
    import resource

    if rank > 0:
        return
    timed = sorted(times[o.skip:]) or [float("nan")]
    json.dump({"system": f"torch {torch.__version__}", "settings": vars(o), "step_s": timed[len(timed) // 2], "times": times,
               "losses": losses, "grad_norms": norms, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024},
              sys.stdout)
    print()


def save_hugging_face(model, o):
    from safetensors.torch import save_file

    os.makedirs(o.save_hugging_face, exist_ok=True)
    names = {"c_attn": "attn.c_attn", "c_proj": "attn.c_proj", "c_fc": "mlp.c_fc", "m_proj": "mlp.c_proj"}
    tensors = {}
    for name, p in model.named_parameters():
        parts = name.split(".")
        if parts[0] == "h" and parts[2] in names:
            name = f"h.{parts[1]}.{names[parts[2]]}.{parts[3]}"
        value = p.detach()
        tensors[name] = (value.t() if parts[0] == "h" and p.dim() == 2 else value).contiguous().clone()
    save_file(tensors, os.path.join(o.save_hugging_face, "model.safetensors"), metadata={"format": "pt"})
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": o.layers, "n_embd": o.hidden,
              "n_head": o.heads, "n_inner": o.ff, "n_positions": o.context, "n_ctx": o.context, "vocab_size": o.vocab,
              "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
              "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    json.dump(config, open(os.path.join(o.save_hugging_face, "config.json"), "w"), indent=1)


if __name__ == "__main__":
    main()
