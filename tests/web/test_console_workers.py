"""One console for several processes: their queue, their log, and what they have counted together."""

import re
import signal
from pathlib import Path

from console_ground import text_of
from console_world import wait_until, world


def test_the_console_of_several_workers_shows_what_all_of_them_do(tmp_path: Path) -> None:
    with world(tmp_path, workers=2) as there:
        kept = [there.send(f"{number}@up.test") for number in range(6)]
        held = there.send("a@down.test")
        lines = wait_until(lambda: _log_with(there.page("/log"), kept), "the log has all of them")
        assert f"{held} received" in lines
        there.relay.wait_until_deferred(held)
        wait_until(lambda: re.search(r"accepted \d \d 7 ", text_of(there.page("/"))), "what all of them have accepted")
        text = text_of(there.page("/"))
        assert text.count("running") == 2 and "deferred 1" in text
        assert held in there.page("/queue")
        there.relay.settings["postmaster"] = "boss@example.org"
        there.relay.write_configuration()
        there.relay.process.signal(signal.SIGHUP)
        wait_until(lambda: "boss@example.org" in there.page("/configuration"), "what was read again is in force")


def _log_with(page: str, kept: list[str]) -> str:
    """The lines of the log, once each of these was delivered; "" until then."""
    text = text_of(page)
    return text if all(f"{one} delivered" in text for one in kept) else ""
