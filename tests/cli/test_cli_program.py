"""The program as a whole: its commands, help and completion, and how it ends when nobody can read what it says."""

import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_ground import MTA, Ground, Launch, run

from mta.cli.program import COMMANDS


def test_help_lists_the_commands() -> None:
    printed = run("--help").stdout
    for name, (_, summary) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", printed, re.M)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_takes_a_configuration(name: str) -> None:
    printed = run(name, "--help").stdout
    assert "--config FILE" in printed
    assert ("--json" in printed) == (name in ("queue", "show", "explain", "doctor", "forecast", "audit"))
    assert ("--yes" in printed) == (name in ("bounce", "drop"))
    if name == "sendmail":  # whose callers know the statuses of sysexits.h
        assert "--nonsense is no option" in run(name, "--nonsense", status=64).stderr
        return
    assert "No such option" in run(name, "--nonsense", status=2).stderr or name == "start"


def test_what_it_does_not_know_is_used_wrongly() -> None:
    for words in (["quue"], ["--nonsense"], ["queue", "more"], []):
        run(*words, status=2)


def test_the_shell_can_complete() -> None:
    def completed(*words: str) -> list[str]:
        asked = {"_MTA_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        done = subprocess.run(
            [MTA], env={**os.environ, **asked}, capture_output=True, text=True, check=True, timeout=20
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("mta", "r") == ["restart", "retry", "release"]
    assert completed("mta", "queue", "--st") == ["--state"]
    assert completed("mta", "queue", "--state", "h") == ["held"]


def test_a_listing_imports_neither_twisted_nor_what_others_need() -> None:
    code = (
        "import sys, mta.cli.program\n"
        "heavy = ('twisted', 'rich', 'dns', 'OpenSSL', 'mta.delivery')\n"
        "early = [name for name in ('pydantic', 'apsw', 'twisted') if name in sys.modules]\n"
        "import mta.cli.queue\n"
        "print(early + [name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("words", [["queue", "--limit", "5000"], ["queue", "--limit", "5000", "--json"], ["cat"]])
def test_a_reader_who_goes_away_is_no_error(ground: Ground, launch: Launch, words: list[str]) -> None:
    if words == ["cat"]:
        words = ["cat", ground.add("bob@there.test", content=b"x" * 5_000_000)]
    else:
        ground.add("bob@there.test", many=5000)
    listing = launch(*words, "--config", ground.file)
    assert listing.stdout is not None
    assert listing.stdout.read(1)
    listing.stdout.close()
    listing.stdout = None
    _, errors = listing.communicate(timeout=20)
    assert errors == b""


def test_a_full_disk_is_told_in_a_sentence(ground: Ground, launch: Launch) -> None:
    queue_id = ground.add("bob@there.test")
    for words in (["queue"], ["show", queue_id], ["cat", queue_id]):
        with Path("/dev/full").open("wb") as full:
            done = launch(*words, "--config", ground.file, stdout=full)
            _, errors = done.communicate(timeout=20)
        assert (done.returncode, errors) == (1, b"mta: No space left on device\n"), words


class TestStart:
    """`mta start`."""

    def test_wrong_words_are_used_wrongly(self, ground: Ground, launch: Launch) -> None:
        wrong = launch("start", "--nonsense", "--config", ground.file)
        _, errors = wrong.communicate(timeout=20)
        assert wrong.returncode == 2
        assert b"nonsense" in errors

    def test_a_wrong_configuration_never_starts(self, ground: Ground, launch: Launch) -> None:
        ground.file.write_text("spool: spool\nhostnam: x\n")
        wrong = launch("start", "--config", ground.file)
        printed, errors = wrong.communicate(timeout=20)
        assert wrong.returncode == 1
        assert f"{ground.file}:2: hostnam: ".encode() in errors
        assert b"Traceback" not in printed + errors

    def test_it_runs_in_the_foreground_until_it_is_told_to_stop(
        self, ground: Ground, launch: Launch, tmp_path: Path
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        ground.file.write_text(f"{ground.file.read_text()}listen: [{{address: '127.0.0.1:{port}'}}]\n")
        relay = launch("start", "--config", ground.file, "--umask", "077", cwd=tmp_path)
        assert _greets(port)
        relay.send_signal(signal.SIGTERM)
        printed, errors = relay.communicate(timeout=20)
        assert relay.returncode in (0, -signal.SIGTERM)  # twistd ends by the signal that it was sent
        assert errors == b""
        assert b" stopped " in printed
        assert not list(tmp_path.glob("*.pid"))


def _greets(port: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=5):
                return True
        except OSError:
            time.sleep(0.1)
    return False
