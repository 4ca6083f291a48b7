"""Every dialogue of tests/dialogues, played in memory; tests/integration plays them against the daemon.

The octets arrive as written, one by one, and by sevens. TLS is no more than a word here; the daemon really speaks it.
"""

from pathlib import Path

import pytest
from dialogue import Dialogue, all_dialogues, play
from house_in_memory import InMemory


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dialogues")


@pytest.mark.parametrize("cut", [0, 1, 7])
@pytest.mark.parametrize("dialogue", all_dialogues(), ids=lambda dialogue: dialogue.name)
def test_dialogue(dialogue: Dialogue, cut: int, folder: Path) -> None:
    peer = InMemory(folder, dialogue.settings, cut)
    play(dialogue, peer)
    assert peer.rest() == b"", "sent, but not expected"
