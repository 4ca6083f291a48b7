"""Tables: what is printed, medians of the repeats, and what is written to a file, every repeat."""

import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One repeat with one relay. fault: why its figures are worth nothing; "" for nothing wrong."""

    peer: str
    figures: dict[str, float]
    fault: str = ""


@dataclass(frozen=True)
class Column:
    """ratio: a column with the median of the ratios, repeat by repeat, stands behind it. spread: least and greatest."""

    key: str
    heading: str
    ratio: bool = False
    spread: bool = True


class Report:
    """The runs of one row of the benchmark, and its table. file: where each run is appended as a line of JSON."""

    def __init__(self, title: str, base: str, file: Path | None) -> None:
        self.title = title
        self._base = base
        self._file = file
        self._runs: list[Run] = []

    def add(self, run: Run) -> None:
        self._runs.append(run)
        figures = "  ".join(f"{key} {figure(value)}" for key, value in run.figures.items())
        void = f"  VOID: {run.fault}" if run.fault else ""
        print(f"  {run.peer:16} {figures}{void}", file=sys.stderr, flush=True)
        if self._file is not None:
            repeat = sum(one.peer == run.peer for one in self._runs)
            whole = {"row": self.title, "peer": run.peer, "repeat": repeat, "void": run.fault}
            numbers = {key: None if math.isnan(value) else round(value, 4) for key, value in run.figures.items()}
            with self._file.open("a") as opened:
                opened.write(json.dumps({**whole, **numbers}) + "\n")

    def show(self, columns: list[Column]) -> None:
        print(table(self.title, columns, self._runs, self._base), flush=True)


def table(title: str, columns: list[Column], runs: list[Run], base: str) -> str:
    """Markdown, with aligned columns. base: the relay that ratios are to; the first where it took no part."""
    names = list(dict.fromkeys(run.peer for run in runs))
    base = base if base in names else names[0]
    lines = [["", *_headings(columns)]]
    for name in names:
        own = [run for run in runs if run.peer == name]
        fault = next((run.fault for run in own if run.fault), "")
        cells = [f"void: {fault}"] if fault else _cells(columns, own, [run for run in runs if run.peer == base])
        lines.append([name, *cells, *[""] * (len(lines[0]) - 1 - len(cells))])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    rows = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([f"{title}\n", *(f"{row} |" for row in rows), ""])


def figure(value: float) -> str:
    """A number as it is read best: 1,234, 12.3, 1.23, 3."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.4f}"


def _headings(columns: list[Column]) -> list[str]:
    return [
        heading for column in columns for heading in ((column.heading, "ratio") if column.ratio else (column.heading,))
    ]


def _cells(columns: list[Column], own: list[Run], base: list[Run]) -> list[str]:
    cells: list[str] = []
    for column in columns:
        values = [run.figures[column.key] for run in own]
        known = [value for value in values if not math.isnan(value)] or [math.nan]
        spread = f" ({figure(min(known))} to {figure(max(known))})" if column.spread and len(known) > 1 else ""
        cells.append(figure(statistics.median(known)) + spread)
        if column.ratio:
            pairs = zip(own, base, strict=False)
            both = [(one.figures[column.key], other.figures[column.key]) for one, other in pairs if not other.fault]
            ratios = [one / other for one, other in both if other and not math.isnan(one / other)]
            cells.append(_ratio(statistics.median(ratios)) if ratios else "-")
    return cells
