"""With hashed addresses nobody's local part, and no password, is in the log of any dialogue of tests/dialogues."""

import re
from functools import partial
from pathlib import Path

import house_in_memory
import pytest
from dialogue import all_dialogues, play
from house_in_memory import InMemory

from mta.maillog import MailLog

SAID = re.compile(r"^C: (.*)$", re.MULTILINE)
ADDRESS = re.compile(r"""[<:]("[^"]+"|[^\s<>@:,]{3,})@|[<:]([\w.]{3,})>""")
DIALOGUES = Path(__file__).parents[1] / "dialogues"
WORDS = {"postmaster", "somebody"}  # which stand in sentences of ours


def names_in(text: str) -> set[str]:
    """The local parts that a client names in a dialogue, and the accounts that it could be."""
    found = {
        (quoted or alone).strip('"').lower() for line in SAID.findall(text) for quoted, alone in ADDRESS.findall(line)
    }
    return (found | {"alice", "jean.dupont", "anne.dupont"}) - WORDS


def test_nobody_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house_in_memory, "MailLog", partial(MailLog, addresses="hashed"))
    leaks, seen, lines = [], 0, 0
    for dialogue in all_dialogues():
        peer = InMemory(tmp_path, dialogue.settings)
        play(dialogue, peer)
        names = names_in((DIALOGUES / f"{dialogue.name}.txt").read_text(encoding="utf-8"))
        seen += len(names)
        lines += len(peer.lines)
        for line in peer.lines:
            told = re.sub(r"@[\w.\[\]-]+", "", line.lower())  # domains stay
            leaks += [
                (dialogue.name, name, line) for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", told)
            ]
    assert not leaks, "\n".join(f"{name}: {line}" for _, name, line in leaks)
    assert seen > 100
    assert lines > 100
