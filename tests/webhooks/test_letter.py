"""What is posted, and that a receiver can check its signature with what docs/webhooks.md tells it."""

import json
import re
import subprocess
import time
from pathlib import Path

from webhook_receiver import SECRET, is_genuine

from mta.message.timeline import Event
from mta.outbox import Owed
from mta.webhooks.letter import body, signature

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
DEFERRED = Event(
    1_800_000_000.25,
    "deferred",
    {"recipients": ["zoë@b.test"], "reply": "450 4.2.1 \x1b[2J</script>", "host": "mx.b.test", "next": 1_800_000_300.0},
)


def test_an_event_says_what_the_timeline_says_and_whose_it_is() -> None:
    _, octets = body([Owed(1_800_000_000_000_000 << 8, 1_799_999_999_000_000 << 8, "s@a.test", "b.test", DEFERRED)])
    [told] = json.loads(octets)["events"]
    identity, message = told.pop("id"), told.pop("message")
    assert re.fullmatch(r"[0-9A-Z]{12,13}", identity) and re.fullmatch(r"[0-9A-Z]{12,13}", message)
    assert identity != message
    assert told == {
        "event": "deferred",
        "time": "2027-01-15T08:00:00.250Z",
        "sender": "s@a.test",
        "destination": "b.test",
        "recipients": ["zoë@b.test"],
        "reply": "450 4.2.1 \x1b[2J</script>",
        "host": "mx.b.test",
        "next": "2027-01-15T08:05:00.000Z",
    }
    assert b"\x1b" not in octets


def test_no_detail_takes_the_place_of_what_every_event_has() -> None:
    event = Event(0.0, "notice", {"id": "1HZ8K3QW0R2M", "sender": "another", "event": "x", "about": "failed"})
    [told] = json.loads(body([Owed(1, 2, "s@a.test", "", event)])[1])["events"]
    assert (told["event"], told["sender"], told["notice"], told["about"]) == (
        "notice",
        "s@a.test",
        "1HZ8K3QW0R2M",
        "failed",
    )
    assert told["id"] != told["notice"]
    assert "destination" not in told


def test_failed_is_called_bounced() -> None:
    [told] = json.loads(body([Owed(1, 2, "", "b.test", Event(0.0, "failed", {"recipients": ["a"]}))])[1])["events"]
    assert told["event"] == "bounced"


def test_the_signature_is_that_of_these_octets_at_this_time() -> None:
    now, octets = int(time.time()), b'{"events":[]}'
    header = signature(SECRET, now, octets)
    assert is_genuine(header, octets)
    assert not is_genuine(header, octets + b" ")
    assert not is_genuine(header, octets, "another secret")
    assert not is_genuine(signature(SECRET, now - 3600, octets), octets), "an old one, sent again"
    assert not is_genuine(header.replace(f"t={now}", f"t={now - 1}"), octets)


def test_what_the_page_tells_receivers_to_do_works(tmp_path: Path) -> None:
    """Both examples of the page, as they stand there."""
    page = PAGE.read_text(encoding="utf-8")
    [python] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "compare_digest" in block]
    [shell] = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "openssl dgst" in block]
    octets = '{"events":[{"sender":"zoë@a.test"}]}'.encode()
    now = int(time.time())
    (tmp_path / "webhook.secret").write_text(f"{SECRET}\n")
    (tmp_path / "body.json").write_bytes(octets)
    (tmp_path / "example.py").write_text(python)
    for secret, is_right in ((SECRET, True), ("wrong", False)):
        header = signature(secret, now, octets)
        check = f"from example import is_genuine; print(is_genuine({header!r}, {octets!r}))"
        done = subprocess.run(["python3", "-c", check], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(is_right)
        (tmp_path / "header").write_text(header)
        script = f'header="$(cat header)"\n{shell}'
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ("genuine" in done.stdout.split()) == is_right, done.stderr
