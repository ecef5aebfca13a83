"""Loads the data files into concepts: what may be asked, what is answered, how it is checked."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(__file__).parent / "data"
PLATFORM = ("platform-1", "platform-2")
EVERYDAY = ("everyday-1", "everyday-2", "everyday-3", "everyday-4", "everyday-5")
QUESTIONS = ("questions-1", "questions-2", "questions-3", "questions-4", "questions-5")


@dataclass
class Concept:
    """`weight` is the share of training turns relative to an ordinary concept (1.0)."""

    id: str
    group: str
    asks: list[str]
    says: list[str]
    held: list[str]
    must: list[list[str]]
    weight: float = 1.0
    topics: list[str] = field(default_factory=list)
    framed: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    exact: str | None = None
    marker: str | None = None


def read(name: str) -> dict:
    with open(DATA / f"{name}.toml", "rb") as file:
        return tomllib.load(file)


def fill(frames: list[str], names: list[str]) -> list[str]:
    return [frame.replace("{x}", name) for frame in frames for name in names]


def load(frames: dict) -> list[Concept]:
    """All concepts, long answers, refusals and actions of the data folder."""
    concepts = []
    for group, files in (("platform", PLATFORM), ("everyday", EVERYDAY), ("social", ("social",)), ("refusal", ("refusals",))):
        for file in files:
            concepts += [topic_concept(raw, group, frames) for raw in read(file)["concept"]]
    known = {concept.id: concept for concept in concepts}
    for file in QUESTIONS:
        for id, patterns in read(file).items():
            known[id].asks += patterns
    for id, questions in read("fresh").items():
        known[id].fresh = questions
    for concept in concepts:
        if concept.group == "social":
            concept.weight = 2.0
        if concept.group == "refusal":
            concept.weight = 2.5
        if concept.id == "unknown":  # asked in the same frames as the topics: only the topic word tells
            concept.weight, concept.framed = 4.0, fill(frames["topic"], ["<unknown>"])
    concepts += [long_concept(raw, frames) for raw in read("long")["long"]]
    concepts.append(unknown_story(frames))
    concepts += actions(frames)
    return concepts


def topic_concept(raw: dict, group: str, frames: dict) -> Concept:
    topics = raw.get("topic", [])
    return Concept(raw["id"], group, raw["ask"], raw["say"], raw["held"], raw["must"], 1.0, topics, fill(frames["topic"], topics))


def long_concept(raw: dict, frames: dict) -> Concept:
    kind = "story" if "story" in raw else "detail"
    names = raw[kind]
    asks = fill(frames[kind], names)
    held = [frame.replace("{x}", names[0]) for frame in frames[f"held_{kind}"]]
    if raw["id"] == "story-lighthouse":
        asks += ["Tell me a long story.", "Tell me a story.", "Do you know a story?", "A long story, please."]
    return Concept(raw["id"], "long", asks, [raw["say"]], held, raw["must"], 0.6)


def unknown_story(frames: dict) -> Concept:
    say = "I do not know a story about that. I know stories about a lighthouse, a fox, two doors, a night train, a garden, a clock and the sea."
    held = [frame.replace("{x}", name) for frame, name in zip(frames["held_story"], ("a submarine", "Cleopatra", "a glass bottle"))]
    return Concept("no-story", "refusal", fill(frames["story"], ["<unknown>", "<name>", "a <noun>"]), [say], held, [["do not know a story"]])


def actions(frames: dict) -> list[Concept]:
    """Answers that door two acts on: markers, a sample credential, links."""
    raw = read("actions")
    found = []
    for item in raw["concept"]:
        asks = item["ask"] + [item["exact"]]
        found.append(Concept(item["id"], "action", asks, item["say"], item["held"], item["must"], 2.5, exact=item["exact"], marker=item["marker"]))
    for item in raw["read_more"]:
        found.append(link_concept(item["topic"], [item["topic"]], item["url"], frames, 0.8))
    found.append(link_concept("anything-else", ["<unknown>", "<noun>", "this", "all that"], "https://docs.sallyport.example/guide", frames, 1.0))
    return found


def link_concept(name: str, topics: list[str], url: str, frames: dict, weight: float) -> Concept:
    about = "that" if name == "anything-else" else name
    says = [f"You can read more about {about} at {url} and on the pages that follow it. Ask me if something there is not clear."]
    held = [frame.replace("{x}", "submarines" if about == "that" else name) for frame in frames["held_read_more"]]
    exact = f"Where can I read more about {name}?" if about != "that" else None
    asks = fill(frames["read_more"], topics)
    return Concept(f"link-{name.replace(' ', '-')}", "action", asks, says, held, [[f"{url} and"]], weight, exact=exact, marker=url if exact else None)
