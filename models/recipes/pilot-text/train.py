"""Trains the pilot model on one CPU thread; resumes from its checkpoint when one exists.

Usage: python train.py --out DIR [--steps 2700] [--threads 1]
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch

from corpus import Corpus
from model import Config, PilotLM
from tokenizer import Encoder, train as train_tokenizer

SEED = 2026
TOKENS_PER_STEP = 2048
POOL = 256  # conversations that are sorted by length together, to waste little padding
MAX_TOKENS = 900
PEAK_LR, WARMUP, DECAY_FROM, END_LR = 2e-3, 100, 0.6, 2e-5
EMA = 0.99
PLAIN_UNTIL, MIXED_FROM, PLAIN_AT_END = 0.3, 0.5, 0.2
CUT_FROM, CUT = 0.5, 0.65
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def plain_share(done: float) -> float:
    """How many conversations are one bare question: all at first, few once the topics are known."""
    mixed = min(1.0, max(0.0, (done - PLAIN_UNTIL) / (MIXED_FROM - PLAIN_UNTIL)))
    return 1.0 + mixed * (PLAIN_AT_END - 1.0)


def batches(corpus: Corpus, encoder: Encoder, pool: int, done: float) -> list[Batch]:
    """The batches of pool number `pool`: inputs, next-token targets and weights, all [batch, time]."""
    rng = random.Random(f"{SEED}:{pool}")
    plain = plain_share(done)
    cut = CUT if done >= CUT_FROM else 0.0  # answers are known by then; more questions fit into a step
    items = [encoder.conversation(corpus.conversation(rng, plain, cut)) for _ in range(POOL)]
    items = sorted((item for item in items if len(item[0]) <= MAX_TOKENS), key=lambda item: len(item[0]))
    found, start = [], 0
    while start < len(items):
        end = start + 1
        while end < len(items) and (end - start + 1) * len(items[end][0]) <= TOKENS_PER_STEP:
            end += 1
        found.append(collate(items[start:end]))
        start = end
    rng.shuffle(found)
    return found


def collate(items: list[tuple[list[int], list[float]]]) -> Batch:
    longest = max(len(ids) for ids, _ in items) - 1
    inputs, targets = (torch.zeros(len(items), longest, dtype=torch.long) for _ in range(2))
    weights = torch.zeros(len(items), longest)
    for row, (ids, weight) in enumerate(items):
        last = len(ids) - 1
        inputs[row, :last] = torch.tensor(ids[:-1])
        targets[row, :last] = torch.tensor(ids[1:])
        weights[row, :last] = torch.tensor(weight[1:])
    return inputs, targets, weights


def rate(step: int, steps: int) -> float:
    """Warm up, stay, then fall along a cosine to END_LR."""
    if step < WARMUP:
        return PEAK_LR * (step + 1) / WARMUP
    done = max(0.0, (step / steps - DECAY_FROM) / (1 - DECAY_FROM))
    return END_LR + (PEAK_LR - END_LR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, out: Path, vocab: int):
        torch.manual_seed(SEED)
        self.path = out / "checkpoint.pt"
        self.model = PilotLM(Config(vocab=vocab))
        # Muon for the matrices inside the blocks, AdamW for the embedding and the gains.
        inside = [p for name, p in self.model.named_parameters() if p.dim() == 2 and name.startswith("blocks")]
        outside = [p for name, p in self.model.named_parameters() if p.dim() != 2 or not name.startswith("blocks")]
        self.optimizers = [
            torch.optim.Muon(inside, lr=PEAK_LR, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(outside, lr=PEAK_LR, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        ]
        self.ema = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.step = self.pool = self.tokens = 0
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.model.load_state_dict(saved["model"])
            for optimizer, state in zip(self.optimizers, saved["optimizers"]):
                optimizer.load_state_dict(state)
            self.ema = saved["ema"]
            self.step, self.pool, self.tokens = saved["position"]

    def save(self) -> None:
        part = self.path.with_suffix(".part")
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        position = (self.step, self.pool, self.tokens)
        torch.save({"model": self.model.state_dict(), "optimizers": optimizers, "ema": self.ema, "position": position}, part)
        part.rename(self.path)

    def update(self, batch: Batch, lr: float) -> float:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.model.loss(*batch)
        self.model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        keep = min(EMA, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                self.ema[name].lerp_(p, 1 - keep)
        self.step += 1
        self.tokens += batch[0].numel()
        return loss.item()


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--steps", type=int, default=2700)
    args.add_argument("--threads", type=int, default=1)
    options = args.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.out / "tok.model").exists():
        train_tokenizer(str(options.out / "tok"))
    encoder, corpus = Encoder(str(options.out / "tok.model")), Corpus()
    run = Run(options.out, encoder.sp.vocab_size())
    print(f"{sum(p.numel() for p in run.model.parameters())} parameters, step {run.step} of {options.steps}", flush=True)
    loop(run, corpus, encoder, options)


def loop(run: Run, corpus: Corpus, encoder: Encoder, options: argparse.Namespace) -> None:
    log = open(options.out / "log.jsonl", "a", encoding="utf-8")
    began, losses, ready = time.time(), [], []
    while run.step < options.steps:
        if not ready:
            ready = batches(corpus, encoder, run.pool, run.step / options.steps)
            run.pool += 1
        losses.append(run.update(ready.pop(), rate(run.step, options.steps)))
        if run.step % 25 == 0:
            line = {"step": run.step, "tokens": run.tokens, "loss": round(sum(losses) / len(losses), 4), "seconds": round(time.time() - began)}
            log.write(json.dumps(line) + "\n")
            log.flush()
            print(line, flush=True)
            losses = []
        if run.step % 100 == 0 or run.step == options.steps:
            run.save()


if __name__ == "__main__":
    main()
