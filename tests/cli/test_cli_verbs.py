"""`mta retry`, `hold`, `release`, `bounce` and `drop`: what they change in the spool, ask, say and answer."""

import email
import email.policy
import fcntl
import json
import os
import pty
import signal
import termios
import time
from typing import Any

import pytest
from cli_ground import Ground, Launch

from mta.cli.verbs import Meant
from mta.spool.content import LARGEST_ROW

VERBS = ["retry", "hold", "release", "bounce", "drop"]


def recipients(ground: Ground) -> dict[str, str]:
    """Who is in the queue, with their state."""
    listing: dict[str, Any] = json.loads(ground.mta("queue", "--json").stdout)
    return {one["address"]: one["state"] for message in listing["messages"] for one in message["recipients"]}


@pytest.fixture
def three(ground: Ground) -> tuple[str, str]:
    """Two messages for three recipients, all of them deferred."""
    first, second = ground.add("bob@there.test", "carol@else.test"), ground.add("dave@there.test")
    for queue_id in (first, second):
        ground.defer(queue_id)
    return first, second


def test_retry(ground: Ground, three: tuple[str, str]) -> None:
    assert ground.mta("retry", *three).stdout == "retried 3 recipients of 2 messages\n"
    assert set(recipients(ground).values()) == {"ready"}
    [(due,)] = ground.rows("SELECT max(due) FROM delivery")
    assert isinstance(due, float)
    assert due <= time.time()


def test_hold_and_release(ground: Ground, three: tuple[str, str]) -> None:
    assert ground.mta("hold", "--to", "there.test").stdout == "held 2 recipients of 2 messages\n"
    held = {"bob@there.test": "held", "carol@else.test": "deferred", "dave@there.test": "held"}
    assert recipients(ground) == held
    assert ground.mta("retry", "--to", "there.test", status=1).stderr == (
        "mta: nothing was retried: it is held; release it first\n"
    )
    assert recipients(ground) == held
    assert ground.mta("retry", "--all").stdout == "retried 1 recipient\n"
    assert ground.mta("hold", "--to", "there.test", status=1).stderr == "mta: nothing was held: it is held already\n"
    assert ground.mta("release", "--all").stdout == "released 2 recipients\n"
    assert set(recipients(ground).values()) == {"ready"}
    assert ground.mta("release", "--all", status=1).stderr == "mta: nothing was released: it is not held\n"


def test_drop_removes_and_tells_nobody(ground: Ground, three: tuple[str, str]) -> None:
    first, second = three
    assert ground.mta("drop", "--yes", second.lower()).stdout == "dropped 1 recipient of 1 message\n"
    assert set(recipients(ground)) == {"bob@there.test", "carol@else.test"}
    assert ground.mta("drop", "--yes", "--to", "carol@else.test").stdout == "dropped 1 recipient of 1 message\n"
    assert ground.mta("drop", "--yes", "--all").stdout == "dropped 1 recipient of 1 message\n"
    assert ground.mta("queue").stdout == "0 messages for 0 recipients, 0 octets\n"
    assert ": dropped\n" in ground.mta("show", first).stdout


def test_bounce_stores_the_notice_that_the_relay_would_have_written(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test", "carol@there.test")
    ground.defer(queue_id)
    assert ground.mta("bounce", "--yes", queue_id).stdout == "bounced 2 recipients of 1 message\n"
    assert recipients(ground) == {"alice@sender.test": "ready"}
    [notice] = json.loads(ground.mta("queue", "--from", "<>", "--json").stdout)["messages"]
    assert notice["recipients"][0]["state"] == "ready"
    report = email.message_from_bytes(ground.mta("cat", notice["id"]).stdout_bytes, policy=email.policy.default)
    assert (report["to"], report["auto-submitted"]) == ("alice@sender.test", "auto-replied")
    _, status, header = report.iter_parts()  # type: ignore[attr-defined]
    _, bob, carol = status.get_payload()
    for fields, address in ((bob, "bob@there.test"), (carol, "carol@there.test")):
        assert fields["final-recipient"] == f"rfc822; {address}"
        assert (fields["action"], fields["status"]) == ("failed", "5.0.0")
    assert "Subject: waiting" in header.get_content()


def test_the_bounce_of_a_notice_goes_to_the_postmaster_and_of_a_null_path_to_nobody(ground: Ground) -> None:
    ground.add("alice@sender.test", sender="", notice_for=1)
    ground.add("bob@there.test", sender="")
    assert ground.mta("bounce", "--yes", "--all").stdout == "bounced 2 recipients of 2 messages\n"
    assert recipients(ground) == {"postmaster@elsewhere.test": "ready"}


def test_a_bounce_whose_content_cannot_be_read_quotes_no_header(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test", content=b"Subject: lost\r\n\r\n" + b"y" * LARGEST_ROW)
    ground.content_file(queue_id).unlink()
    bounced = ground.mta("bounce", "--yes", queue_id)
    assert bounced.stdout == "bounced 1 recipient of 1 message\n"
    assert queue_id in bounced.stderr
    assert recipients(ground) == {"alice@sender.test": "ready"}


@pytest.mark.parametrize("verb", VERBS)
def test_on_what_is_being_tried_it_waits_for_the_end_of_the_try(ground: Ground, verb: str) -> None:
    """That a try is under way is not said: for all that the queue knows it may wait in memory for its turn."""
    queue_id = ground.add("bob@there.test")
    worker = ground.hold()
    ground.claim(queue_id)
    said = ground.mta(verb, queue_id, *(["--yes"] if verb in ("bounce", "drop") else [])).stdout
    assert said.splitlines()[1:] == [
        "1 recipient taken up for delivery: it takes effect when the try has ended, "
        "within a second if that has not begun"
    ]
    assert recipients(ground) == {"bob@there.test": "active"}
    [(wish,)] = ground.rows("SELECT wish FROM delivery")
    assert wish == ("" if verb == "release" else verb)
    worker.close()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "words", [[], ["--all", "--to", "there.test"], ["--all", "CR7CY6C240G0"], ["--to", "there.test", "CR7CY6C240G0"]]
)
def test_which_mail_is_meant_must_be_said_in_one_way(ground: Ground, verb: str, words: list[str]) -> None:
    ground.add("bob@there.test")
    assert "in one way" in ground.mta(verb, *words, status=2).stderr
    assert recipients(ground) == {"bob@there.test": "ready"}


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_that_matches_is_not_done(ground: Ground, verb: str) -> None:
    assert ground.mta(verb, "--all", status=1).stderr == "mta: the queue is empty\n"
    ground.add("bob@there.test")
    assert (
        ground.mta(verb, "--to", "no\x1bone.test", status=1).stderr
        == "mta: no mail in the queue is for no\\x1bone.test\n"
    )
    assert ground.mta(verb, "000000000000", status=1).stderr == "mta: not in the queue: 000000000000\n"
    assert "is not a queue id" in ground.mta(verb, "U", status=2).stderr
    assert recipients(ground) == {"bob@there.test": "ready"}


def test_what_is_there_is_done_and_what_is_not_is_named(ground: Ground) -> None:
    gone, here = ground.add("bob@there.test"), ground.add("carol@there.test")
    ground.deliver(gone)
    done = ground.mta("hold", gone.lower(), here, status=1)
    assert done.stdout == "held 1 recipient of 1 message\n"
    assert done.stderr == f"mta: not in the queue: {gone}\n"
    assert recipients(ground) == {"carol@there.test": "held"}


@pytest.mark.parametrize("verb", ["bounce", "drop"])
def test_without_a_terminal_and_without_an_answer_it_takes_yes(ground: Ground, verb: str) -> None:
    ground.add("bob@there.test")
    assert "--yes" in ground.mta(verb, "--all", status=2).stderr
    assert recipients(ground) == {"bob@there.test": "ready"}


@pytest.mark.parametrize("verb", ["bounce", "drop"])
def test_the_answer_may_come_from_a_program(ground: Ground, verb: str) -> None:
    ground.add("bob@there.test")
    for answer in ("n\n", "\n", "CR7D5JBM8M80\ny\n"):
        asked = ground.mta(verb, "--all", status=1, typed=answer)
        assert "1 recipient of 1 message" in asked.stderr
        assert asked.stderr.endswith("mta: nothing was done\n")
        assert recipients(ground) == {"bob@there.test": "ready"}
    assert "1 recipient of 1 message\n" in ground.mta(verb, "--all", typed="y\n").stdout
    assert "bob@there.test" not in recipients(ground)


@pytest.mark.parametrize(("answer", "status", "left"), [(b"n\n", 1, 3), (b"\n", 1, 3), (b"\x03", 1, 3), (b"y\n", 0, 0)])
def test_on_a_terminal_it_asks_and_says_how_many(
    ground: Ground, launch: Launch, three: tuple[str, str], answer: bytes, status: int, left: int
) -> None:
    ours, theirs = pty.openpty()
    dropping = launch("drop", "--all", "--config", ground.file, stdin=theirs, stderr=theirs, start_new_session=True,
                       preexec_fn=_controlling)  # fmt: skip
    os.close(theirs)
    question = b""
    while b"[y/N]" not in question:
        question += os.read(ours, 1000)
    assert b"Remove 3 recipients of 2 messages, and tell nobody?" in question
    time.sleep(0.3)  # nobody is quicker; Python does not see a ctrl-C between the question and its read
    os.write(ours, answer)
    said, _ = dropping.communicate(timeout=20)
    os.close(ours)
    assert dropping.returncode == status
    assert said == (b"" if left else b"dropped 3 recipients of 2 messages\n")
    assert len(recipients(ground)) == left


def _controlling() -> None:
    """Make the terminal on standard input the one whose ctrl-C we get, and heed it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_many_are_counted_only_so_far(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.cli.verbs.MOST_COUNTED", 5)
    ground.add("bob@there.test", many=12)
    assert ground.mta("hold", "--to", "there.test").stdout == "held 12 recipients\n"
    assert str(Meant(5, 5, 0, more=True)) == "more than 5 messages"
