"""The paraphrase grammar of the data files.

`{a|b|}` chooses one alternative (no nesting), `<slot>` is filled from lists.toml.
"""

import random
import re

CHOICE = re.compile(r"\{([^{}]*)\}")
SLOT = re.compile(r"<([a-z]+)>")


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
    if rng.random() < 0.4:
        text = disturb(text, frames, rng)
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


def disturb(text: str, frames: dict, rng: random.Random) -> str:
    """Words go missing, or little words come in: what is left must do to tell the topic."""
    words = text.split(" ")
    kept = [word for word in words if rng.random() > 0.2]
    if len(words) > 3 and len(kept) > 1:
        words = kept
    if rng.random() < 0.4:
        words.insert(rng.randrange(len(words) + 1), rng.choice(frames["filler"]))
    return " ".join(words)
