"""Transcript: what was said in a session, in the form "C: …" and "S: …", for the timeline of a try that failed.

While a session runs only references are kept; lines are made when somebody wants to read them.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from mta.smtp.answers import clean
from mta.smtp.reply import Reply
from mta.smtp.steps import Commands, Content, Step

LINES_LIMIT = 60
LINE_LIMIT = 500  # characters
_LINES_AT_FIRST = 20

Spoken: TypeAlias = Step | list[Reply]


def transcribe(spoken: Sequence[Spoken]) -> tuple[str, ...]:
    """The lines of a dialogue, the middle left out where it is long. No content and no secrets."""
    lines = [line[:LINE_LIMIT] for turn in spoken for line in _lines(turn)]
    left_out = len(lines) - LINES_LIMIT
    if left_out > 0:
        left_out += 1
        lines[_LINES_AT_FIRST : _LINES_AT_FIRST + left_out] = [f"({left_out} lines left out)"]
    return tuple(lines)


def _lines(turn: Spoken) -> Iterator[str]:
    if isinstance(turn, Commands):
        for line in turn.lines:
            yield "C: (secret)" if turn.secret else f"C: {clean(line[:-2])}"
    elif isinstance(turn, Content):
        yield f"C: ({'content' if turn.sent else 'the beginning of a content'} of {turn.size} octets)"
    elif isinstance(turn, list):
        for reply in turn:
            for number, text in enumerate(reply.lines, start=1):
                code = f"{reply.code}-" if number < len(reply.lines) else f"{reply.code} "
                yield f"S: {code}{reply.enhanced + ' ' if reply.enhanced else ''}{text}"
