"""Shapes: what the small charts are made of. Numbers in, numbers out; the templates draw them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

STATES: Final = ("ready", "active", "deferred", "held")
WIDTH, HEIGHT = 600.0, 120.0  # of the chart of rates, in units of its own
_LEAST: Final = 4.0  # thousandths that a part is wide that is there at all, so that it is seen

Count = Mapping[str, Any]


def stack(states: Mapping[str, Count]) -> list[dict[str, Any]]:
    """States as parts of a bar of 1000: what is there is seen, however little it is."""
    numbers = {state: states[state]["number"] for state in STATES}
    total = sum(numbers.values())
    there = sum(1 for number in numbers.values() if number)
    parts, x = [], 0.0
    for state, number in numbers.items():
        width = _LEAST + (1000 - _LEAST * there) * number / total if number else 0.0
        parts.append({"state": state, "count": states[state], "x": x, "width": width})
        x += width
    return parts


def bars(counts: Sequence[Count]) -> list[float]:
    """Shares of the largest, from 0 to 1."""
    largest = max((one["number"] for one in counts), default=0)
    return [one["number"] / largest if largest else 0.0 for one in counts]


def line(numbers: Sequence[int], most: int) -> str:
    """The points of a line through these numbers; `most` is at the top."""
    step = WIDTH / max(1, len(numbers) - 1)
    top = max(1, most)
    return " ".join(
        f"{place * step:.1f},{HEIGHT - 4 - number / top * (HEIGHT - 8):.1f}" for place, number in enumerate(numbers)
    )
