"""Case 12: SIZE that says little where much is sent, or much; and a disk that has room for neither."""

from pathlib import Path

import pytest
from attack_ground import BEGUN, GREETED, HEADER, Victim, codes

from mta.interfaces import SpoolFull
from mta.spool.memory import MemoryReception


def announced(size: object) -> str:
    return f"MAIL FROM:<smith@client.example.com> SIZE={size}"


def test_announced_small_and_sent_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = Victim(tmp_path, message_size="10000")
    written: list[int] = []
    write = MemoryReception.write
    monkeypatch.setattr(
        MemoryReception, "write", lambda self, octets: written.append(len(octets)) or write(self, octets)
    )
    assert codes(victim.say(GREETED, announced(10), BEGUN[2], "DATA"))[-1] == "354"
    for _ in range(100):
        assert victim.send_all(b"x" * 998 + b"\r\n") == []
    assert sum(written[1:]) <= 10_000, "behind our trace field, what goes beyond the limit is read and not kept"
    assert [one[:9] for one in victim.say(".")] == ["552 5.3.4"]
    assert victim.claims == []
    assert codes(victim.say("NOOP")) == ["250"]


@pytest.mark.parametrize("size", [10_001, 2**31, 2**63, 10**19])
def test_announced_huge(tmp_path: Path, size: int) -> None:
    victim = Victim(tmp_path, message_size="10000")
    victim.say(GREETED)
    assert [one[:9] for one in victim.say(announced(size))] == ["552 5.3.4"]
    assert codes(victim.say(BEGUN[2])) == ["503"], "no transaction has begun"


@pytest.mark.parametrize("size", ["-1", "1x", "", "0x10", "1" * 21, "1 SIZE=2"])
def test_announced_nonsense(tmp_path: Path, size: str) -> None:
    victim = Victim(tmp_path)
    victim.say(GREETED)
    assert codes(victim.say(announced(size))) == ["501"]


def test_no_room_for_what_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = Victim(tmp_path)
    monkeypatch.setattr(victim.spool, "has_room", lambda size: size < 1_000_000)
    victim.say(GREETED)
    assert [one[:9] for one in victim.say(announced(2_000_000))] == ["452 4.3.1"]
    assert codes(victim.say(announced(100))) == ["250"]


def test_no_room_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = Victim(tmp_path)

    def full(now: float) -> None:
        raise SpoolFull("less than the floor")

    victim.say(*BEGUN)
    monkeypatch.setattr(victim.spool, "receive", full)
    assert [one[:9] for one in victim.say("DATA")] == ["452 4.3.1"]
    monkeypatch.undo()
    assert codes(victim.say("DATA")) == ["354"], "once there is room again the transaction goes on"
    assert codes(victim.send_all(HEADER + b".\r\n")) == ["250"]
