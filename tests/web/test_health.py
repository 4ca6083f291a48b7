"""Is it alive, would it take mail: of one process, and of several."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from mta.admin.running import STALLED, OneProcess
from mta.admin.supervised import SeveralProcesses
from mta.net.measures import BROKEN, NOTED, WRITING, Measures


def said(doubts: list[Any]) -> list[str]:
    return [f"{one.what}: {one.text}" for one in doubts]


def test_of_one_process() -> None:
    relay: Any = SimpleNamespace(
        running=1, deaf=list, spool=SimpleNamespace(writing_for=lambda: 0.5, has_room=lambda size: True, trouble=str)
    )
    one = OneProcess(relay, Clock())
    assert one.unready() == []
    relay.spool.writing_for = lambda: STALLED + 1
    assert said(one.ill()) == ["spool: the queue file has not answered for 31 s; look at its disk"]
    relay.spool = SimpleNamespace(writing_for=lambda: 0.0, has_room=lambda size: False, trouble=str)
    relay.deaf, relay.running = lambda: ["127.0.0.1:25"], 0
    assert one.ill() == []
    assert said(one.unready()) == [
        "relay: it is not started yet, or is stopping",
        "spool: its disk is nearly full, so mail is answered with 452",
        "listen: nobody listens on 127.0.0.1:25",
    ]


def test_a_queue_file_that_fails_makes_it_unready_and_leaves_it_alive() -> None:
    """A new start would not mend it."""
    spool = SimpleNamespace(writing_for=lambda: 0.0, has_room=lambda size: True, trouble=lambda: "disk I/O error")
    one = OneProcess(SimpleNamespace(running=1, deaf=list, spool=spool), Clock())  # type: ignore[arg-type]
    assert one.ill() == []
    assert said(one.unready()) == ["spool: the queue file fails, so mail is answered with 451: disk I/O error"]


def test_of_several_processes(tmp_path: Path) -> None:
    clock = Clock()
    clock.advance(1000)
    rows = [Measures(), Measures()]
    boss: Any = SimpleNamespace(running=1, wanted=2, ready_workers=lambda: 2, measures=rows)
    config: Any = SimpleNamespace(spool=tmp_path)
    several = SeveralProcesses(config, boss, clock)
    assert several.ill() == []
    for row in rows:
        row.cells[NOTED] = clock.seconds()
    clock.advance(STALLED + 1)
    rows[0].cells[NOTED] = clock.seconds()
    assert said(several.ill()) == ["workers: worker 1 has done nothing for half a minute"]
    rows[1].cells[NOTED] = clock.seconds()
    rows[1].cells[WRITING] = 40
    assert "40 s" in said(several.ill())[0]
    rows[1].cells[WRITING] = 0
    rows[1].cells[BROKEN] = 1
    assert several.ill() == []
    assert said(several.unready()) == [
        "spool: the queue file fails, so mail is answered with 451: worker 1, whose log says how"
    ]
    rows[1].cells[BROKEN] = 0
    boss.ready_workers = lambda: 1
    assert "workers: 1 of 2 are not running" in said(several.unready())
    boss.ready_workers = lambda: 0
    assert said(several.ill()) == ["workers: none of them is running"]
    several._spool = tmp_path / "gone"
    assert any("does not answer" in one for one in said(several.unready()))
