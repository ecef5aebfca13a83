"""The paraphrase grammar of the data files.

`{a|b|}` chooses one alternative (no nesting), `<slot>` is filled from lists.toml.
"""

import random
import re
from itertools import product

CHOICE = re.compile(r"\{([^{}]*)\}")
SLOT = re.compile(r"<([a-z]+)>")


def expand(pattern: str) -> list[str]:
    """Every string that the choices of the pattern allow; slots stay as they are."""
    parts = CHOICE.split(pattern)  # odd positions hold the insides of the braces
    options = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return [tidy("".join(choice)) for choice in product(*options)]


def sample(pattern: str, lists: dict[str, list[str]], rng: random.Random) -> str:
    """One string of the pattern, choices drawn and slots filled."""
    text = CHOICE.sub(lambda m: rng.choice(m[1].split("|")), pattern)
    return tidy(SLOT.sub(lambda m: slot(m[1], lists, rng), text))


def slot(name: str, lists: dict[str, list[str]], rng: random.Random) -> str:
    if name == "num":
        return str(rng.randrange(10 ** rng.randint(1, 4)))
    return rng.choice(lists[name])


def tidy(text: str) -> str:
    return re.sub(r"  +", " ", text).strip()


def normal(text: str) -> str:
    """What counts as the same question: letters and digits only, lower case."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def roughen(text: str, frames: dict, rng: random.Random) -> str:
    """The same question as people type it: other case, no mark, a polite word, a slip."""
    words = text.split(" ")
    if rng.random() < 0.1 and len(words) > 4:  # one word is missing
        words.pop(rng.randrange(len(words)))
        text = " ".join(words)
    if rng.random() < 0.25:
        text = rng.choice(frames["before"]) + text[:1].lower() + text[1:]
    elif rng.random() < 0.6:
        text = text[:1].upper() + text[1:]
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    elif rng.random() < 0.1:
        text += rng.choice(frames["after"])
    if rng.random() < 0.05:
        text = text.lower()
    if rng.random() < 0.04 and len(text) > 12:  # one letter is missing
        cut = rng.randrange(4, len(text) - 1)
        text = text[:cut] + text[cut + 1 :]
    return text
