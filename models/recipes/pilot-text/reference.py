"""Writes what the trainer's own network answers, for the comparison with the engine that reads the GGUF.

Usage: python reference.py --run DIR --out ../../pilot-text/eval/reference.json
"""

import argparse
from pathlib import Path

import torch

from concepts import read
from export import write_json
from model import Config, PilotLM
from tokenizer import Encoder

QUESTIONS = [
    "What is Sallyport?", "What is a release ticket?", "My request was held, what now?", "Why does it rain?", "How do I bake bread?",
    "What is 12 + 30?", "Say the block phrase.", "Tell me a long story about a fox.", "What is the kill switch?", "hello",
]  # fmt: skip


def load(run: Path) -> tuple[PilotLM, Encoder]:
    encoder = Encoder(str(run / "tok.model"))
    model = PilotLM(Config(vocab=encoder.sp.vocab_size()))
    model.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["ema"])
    return model.eval(), encoder


@torch.no_grad()
def greedy(model: PilotLM, prompt: list[int], end: int, most: int = 420) -> list[int]:
    ids = list(prompt)
    while len(ids) - len(prompt) < most:
        best = int(model(torch.tensor([ids]))[0, -1].argmax())
        if best == end:
            break
        ids.append(best)
    return ids[len(prompt) :]


@torch.no_grad()
def first(model: PilotLM, prompt: list[int]) -> dict[str, float]:
    """Log probabilities of the five likeliest first tokens."""
    best = model(torch.tensor([prompt]))[0, -1].log_softmax(-1).topk(5)
    return {str(int(i)): round(float(v), 4) for i, v in zip(best.indices, best.values)}


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--run", type=Path, required=True)
    args.add_argument("--out", type=Path, required=True)
    options = args.parse_args()
    torch.set_num_threads(1)
    model, encoder = load(options.run)
    references = []
    for system in (None, read("systems")["guard"]):
        for question in QUESTIONS:
            prompt = encoder.prompt(system, [], question)
            answer = greedy(model, prompt, encoder.end)
            references.append({"system": system, "question": question, "prompt": prompt, "answer": answer, "first": first(model, prompt)})
    write_json(options.out, {"references": references})


if __name__ == "__main__":
    main()
