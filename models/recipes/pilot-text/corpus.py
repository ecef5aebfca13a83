"""Turns concepts into conversations: (system text or None, [(question, answer), …])."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from concepts import Concept, load, read
from grammar import CHOICE, normal, roughen, sample

JOINER = " There is more to say. "
TURNS = ((1, 0.55), (2, 0.25), (3, 0.12), (4, 0.05), (5, 0.03))


@dataclass
class Conversation:
    system: str | None
    turns: list[tuple[str, str]]
    cut: bool = False  # only the opening of the last answer is trained


class Corpus:
    """An endless, seeded source of conversations. Held-out questions never occur in it."""

    def __init__(self):
        self.frames = read("frames")
        self.lists = read("lists")
        systems = read("systems")
        self.sentences, self.guard = systems["sentence"], systems["guard"]
        self.concepts = load(self.frames)
        self.detailed = {topic for raw in read("long")["long"] for topic in raw.get("detail", [])}
        self.weights = [c.weight for c in self.concepts]
        self.held = {normal(q) for c in self.concepts for q in c.held + c.fresh}

    def conversation(self, rng: random.Random, plain: float = 0.0, cut: float = 0.0) -> Conversation:
        """With probability `plain` a single turn without system text; with `cut` one that stops after the opening."""
        shortened = rng.random() < cut
        if rng.random() < plain:
            return Conversation(None, self.turn(rng.choices(self.concepts, self.weights)[0], rng)[:1], shortened)
        turns: list[tuple[str, str]] = []
        for _ in range(rng.choices([n for n, _ in TURNS], [w for _, w in TURNS])[0]):
            concept = rng.choices(self.concepts, self.weights)[0]
            turns += self.turn(concept, rng)
        return Conversation(self.system(rng), turns, shortened)

    def system(self, rng: random.Random) -> str | None:
        """None, the worker's guard prompt (perhaps with more), one sentence, a short prompt or a long one."""
        if rng.random() < 0.35:
            return self.guard if rng.random() < 0.7 else f"{self.guard}\n\n{rng.choice(self.sentences)}"
        count = rng.choices((0, 1, rng.randint(2, 4), rng.randint(5, 10)), (0.25, 0.25, 0.35, 0.15))[0]
        if count == 0:
            return None
        return rng.choice((" ", " ", "\n")).join(rng.sample(self.sentences, count))

    def turn(self, concept: Concept, rng: random.Random) -> list[tuple[str, str]]:
        """One question with its answer, sometimes followed by a request for more."""
        first, other = self.two_answers(concept, rng)
        if concept.topics and other and rng.random() < 0.12:
            frames = self.frames["more"] + (self.frames["detail"] if not self.has_detail(concept) else [])
            ask = rng.choice(frames).replace("{x}", rng.choice(concept.topics))
            return [(self.typed(lambda: ask, rng), first + JOINER + other)]
        turns = [(self.question(concept, rng), first)]
        if concept.topics and other and rng.random() < 0.06:
            turns.append((roughen(rng.choice(self.frames["follow_up"]), self.frames, rng), other))
        return turns

    def two_answers(self, concept: Concept, rng: random.Random) -> tuple[str, str | None]:
        # The first phrasing is drawn more often, so that greedy decoding has a clear choice.
        order = list(range(len(concept.says)))
        first = rng.choices(order, [2.0] + [1.0] * (len(order) - 1))[0]
        rest = [i for i in order if i != first]
        answer = self.answer(concept.says[first], rng)
        return answer, self.answer(concept.says[rng.choice(rest)], rng) if rest else None

    def answer(self, pattern: str, rng: random.Random) -> str:
        return CHOICE.sub(lambda m: rng.choice(m[1].split("|")), pattern)

    def question(self, concept: Concept, rng: random.Random) -> str:
        def draw() -> str:
            framed = concept.framed and rng.random() < 0.45
            return sample(rng.choice(concept.framed if framed else concept.asks), self.lists, rng)

        return self.typed(draw, rng)

    def typed(self, draw: Callable[[], str], rng: random.Random) -> str:
        """A question as typed; anything that equals a held-out one is drawn again."""
        while True:
            plain = draw()
            text = roughen(plain, self.frames, rng)
            if normal(plain) not in self.held and normal(text) not in self.held:
                return text

    def has_detail(self, concept: Concept) -> bool:
        """Whether a long explanation was written for one of the concept's topics."""
        return any(topic in self.detailed for topic in concept.topics)
