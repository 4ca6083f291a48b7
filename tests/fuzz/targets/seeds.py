"""Seeds: what a fuzzer begins with: what the corpus keeps, and what is said in the dialogues of tests/dialogues."""

from collections.abc import Iterator

import corpus
from dialogue import Send, all_dialogues

# Which way of cutting and which settings an input begins with, for the targets that read them.
_AS_IT_IS = b"\0\0"


def seeds(target: str) -> Iterator[bytes]:
    """The inputs to begin with."""
    yield from corpus.entries(target)
    if target in ("server", "listener"):
        for wire in _sessions():
            for settings in range(8):
                yield bytes((0, settings)) + wire
    elif target in ("commands", "lines"):
        lines = {line for wire in _sessions() for line in wire.split(b"\r\n") if len(line) < 1000}
        yield from sorted(lines if target == "commands" else (_AS_IT_IS + line + b"\r\n" for line in lines))
    elif target in ("data", "chunks", "transparency", "walking", "conversion", "submission", "header", "given-back"):
        for wire in _sessions():
            for said in wire.split(b"DATA\r\n")[1:]:
                yield _AS_IT_IS + said
    elif target in ("addresses", "values"):
        words = {word for wire in _sessions() for word in wire.split() if len(word) < 300}
        for word in sorted(words):
            yield word.partition(b":")[2] if target == "addresses" else b"\0" + word.partition(b"=")[2]


def _sessions() -> list[bytes]:
    """What clients say in each dialogue, all of it."""
    wires = (b"".join(step.octets for step in one.steps if isinstance(step, Send)) for one in all_dialogues())
    return [wire for wire in wires if len(wire) < 4000]
