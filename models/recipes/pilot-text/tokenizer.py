"""Trains the SentencePiece tokenizer and encodes conversations for training.

Usage: python tokenizer.py OUT_PREFIX
"""

import random
import sys

import sentencepiece as spm

from corpus import Conversation, Corpus

VOCAB = 2000
CONTROL = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
OPENING, OPENING_WEIGHT = 6, 6.0


def train(prefix: str, seed: int = 7) -> None:
    """BPE, because llama.cpp's "llama" tokenizer merges by score as BPE does."""
    corpus, rng = Corpus(), random.Random(seed)
    lines = []
    for _ in range(12000):
        talk = corpus.conversation(rng)
        for question, answer in talk.turns:
            lines += [question, answer]
        if talk.system and rng.random() < 0.1:
            lines.append(talk.system)
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=prefix, vocab_size=VOCAB, model_type="bpe", byte_fallback=True,
        character_coverage=1.0, split_digits=True, add_dummy_prefix=False, remove_extra_whitespaces=False,
        normalization_rule_name="identity", control_symbols=CONTROL, max_sentence_length=8192,
        unk_id=0, bos_id=1, eos_id=2, pad_id=3, num_threads=1, minloglevel=1,
    )  # fmt: skip


class Encoder:
    def __init__(self, path: str):
        self.sp = spm.SentencePieceProcessor(model_file=path)
        self.bos = self.sp.bos_id()
        self.system, self.user, self.assistant, self.end = (self.sp.piece_to_id(piece) for piece in CONTROL)

    def prompt(self, system: str | None, turns: list[tuple[str, str]], question: str) -> list[int]:
        """Token ids up to the point where the model begins to answer `question`."""
        ids, _ = self.conversation(Conversation(system, turns))
        return ids + [self.user, *self.sp.encode(question), self.end, self.assistant]

    def conversation(self, talk: Conversation) -> tuple[list[int], list[float]]:
        """Ids and their loss weights, of equal length: 0 where the model does not speak.

        An answer is decided by its first words and known by heart from there on,
        so the first OPENING tokens count more.
        """
        ids = [self.bos]
        weights = [0.0]
        if talk.system is not None:
            part = [self.system, *self.sp.encode(talk.system), self.end]
            ids += part
            weights += [0.0] * len(part)
        for place, (question, answer) in enumerate(talk.turns, 1):
            asked = [self.user, *self.sp.encode(question), self.end, self.assistant]
            said = [*self.sp.encode(answer), self.end]
            if talk.cut and place == len(talk.turns):
                said = said[: 2 * OPENING]
            ids += asked + said
            opening = min(OPENING, len(said))
            weights += [0.0] * len(asked) + [OPENING_WEIGHT] * opening + [1.0] * (len(said) - opening)
        return ids, weights


if __name__ == "__main__":
    train(sys.argv[1])
