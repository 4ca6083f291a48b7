"""The machine's clock is set back or forward by a day under a relay that runs: it goes on, and makes no copies."""

import time
from datetime import datetime
from pathlib import Path

import pytest
from peers.clients import Talk, submit
from peers.daemon import Relay, StartRelay
from peers.ground import tool
from peers.knot import Dns
from peers.sinks import MakeSink, Sinks

CONTENT = b"Subject: hello\r\n\r\nbody\r\n"
DAY = 86_400


class Clock:
    """What the relay takes for the machine's clock: how far it is from the real one. What measures time that has
    passed, and cannot be set, is left alone, as setting a clock does.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, seconds: int) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self._file)

    def environment(self) -> list[str]:
        """Words in front of a command that then sees this clock."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        tool("faketime", "faketime")
        assert library is not None, "needs the Debian package faketime (tests/install-peers installs it)"
        settings = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
        return ["env", *(f"{name}={value}" for name, value in settings.items())]


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


def lines(relay: Relay, event: str) -> list[str]:
    return [line for line in relay.output.splitlines() if f" {event} " in line]


@pytest.mark.parametrize(
    ("step", "workers"),
    [(-DAY, 1), *(pytest.param(*one, marks=pytest.mark.soak) for one in ((DAY, 1), (-DAY, 2), (DAY, 2)))],
)
def test_a_clock_that_is_set_stops_nothing(
    make_relay: StartRelay, dns: Dns, sink: MakeSink, sinks: Sinks, clock: Clock, step: int, workers: int
) -> None:
    relay = make_relay(before=clock.environment(), workers=workers)
    hop, down = sink(), sink()
    sinks.pause(down)
    dns.zone("clock.test", f"@ MX 10 mx\nmx A {hop.address}")
    for name in ("down-clock.test", "later-clock.test"):
        dns.zone(name, f"@ MX 10 mx\nmx A {down.address}")
    relay.start()
    waiting = submit(relay, "a@sender.test", ["before@down-clock.test"], CONTENT)
    relay.wait_until_deferred(waiting)
    with Talk(relay.address, relay.port) as open_before, Talk(relay.address, relay.port) as idle:
        assert idle.reply().startswith("220")
        open_before.reply()
        open_before.say("EHLO client.test")
        clock.set(step)
        assert open_before.say("NOOP").startswith("250"), "no time limit has passed"
        for number in range(3):  # with pauses, in which timers have to ring
            submit(relay, "a@sender.test", [f"after{number}@clock.test"], CONTENT)
            hop.wait_for(f"after{number}@clock.test")
            time.sleep(0.3)
        assert open_before.say("NOOP").startswith("250")
        assert idle.say("NOOP").startswith("250"), "nor for one who has said nothing since"
    said = lines(relay, "delivered")[-1]
    assert abs(seconds_of(said) - (time.time() + step)) < 60, "the log has the clock's time"

    again = submit(relay, "a@sender.test", ["again@later-clock.test"], CONTENT)
    relay.wait_until_deferred(again)
    sinks.resume(down)
    down.wait_for("again@later-clock.test")  # by a timer
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        talk.say("ETRN down-clock.test")  # what was to be tried a moment later is to be tried a day later now
    down.wait_for("before@down-clock.test")
    relay.wait_until_empty()
    assert sorted(one.recipients[0] for one in down.taken) == ["again@later-clock.test", "before@down-clock.test"]
    assert sorted(one.recipients[0] for one in hop.taken) == [f"after{number}@clock.test" for number in range(3)]


def seconds_of(line: str) -> float:
    return datetime.fromisoformat(line.split()[0]).timestamp()
