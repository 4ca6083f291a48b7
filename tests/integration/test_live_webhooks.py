"""Webhooks of a running relay: told while mail moves, again after trouble, and after the relay was killed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.clients import submit
from peers.daemon import Relay, StartRelay
from peers.ground import wait_until
from peers.sinks import MakeSink
from test_live_reload import reload
from webhook_receiver import SECRET, Receiver, is_genuine, receiving

from mta.operating.operator import opened
from mta.spool.owing import pending, together

CONTENT = b"Subject: hello\r\n\r\nbody\r\n"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def told(hook: Receiver, *kinds: str) -> list[str]:
    """Whom the events that were taken are about, in order."""
    return [one["recipients"][0] for one in hook.taken if one["event"] in kinds]


def entry(folder: Path, hook: Receiver, **more: Any) -> dict[str, Any]:
    (folder / "webhook.secret").write_text(f"{SECRET}\n")
    (folder / "webhook.secret").chmod(0o600)
    return {"url": hook.url, "secret_file": str(folder / "webhook.secret"), **more}


def test_events_are_told_signed_and_survive_a_receiver_that_is_down_and_a_relay_that_is_killed(
    start_relay: StartRelay, sink: MakeSink, hook: Receiver, tmp_path: Path
) -> None:
    hop = sink("mx.told.test")
    routes = [{"to": "none.test", "via": "discard"}, {"to": "*", "via": f"smtp://{hop.address}:25"}]
    relay = start_relay(workers=2, routes=routes, webhooks=[entry(tmp_path, hook)])
    first = submit(relay, "s@sender.test", ["a@b.test"], CONTENT)
    wait_until(lambda: told(hook, "delivered"), "the webhook is told")
    [one] = hook.taken
    assert (one["event"], one["message"], one["sender"], one["recipients"]) == (
        "delivered", first, "s@sender.test", ["a@b.test"],
    )  # fmt: skip
    assert one["host"].endswith(f"[{hop.address}]:25") and one["reply"].startswith("250")
    headers, body = hook.posts[0]
    assert is_genuine(headers["X-Mta-Signature"], body)

    hook.answer = 500
    submit(relay, "s@sender.test", ["c@none.test"], CONTENT)
    wait_until(lambda: 'why="500 Internal Server Error"' in relay.output, "the relay says that it was refused")
    hook.stop()
    relay.wait_until_gone(submit(relay, "s@sender.test", ["d@b.test"], CONTENT))
    relay.kill()
    with opened(relay.spool) as desk:
        [seen] = together([one for each in desk.ask(lambda store, _: pending(store)) for one in each])
    assert (seen.url, seen.waiting, seen.kinds >= {"delivered", "failed"}) == (hook.url, 2, True)
    assert seen.oldest is not None and 0 < time.time() - seen.oldest < 60
    assert told(hook, "delivered", "discarded") == ["a@b.test"]
    hook.answer = 204
    hook.start()
    relay.start()
    wait_until(lambda: len(hook.taken) >= 3, "what was owed is told")
    assert sorted(told(hook, "delivered", "discarded")) == ["a@b.test", "c@none.test", "d@b.test"]
    assert len({one["id"] for one in hook.taken}) == 3
    assert SECRET not in relay.output and "of=mail" not in relay.output


def test_another_configuration_has_others_told_and_tries_at_once(
    start_relay: StartRelay, hook: Receiver, tmp_path: Path
) -> None:
    relay = start_relay(routes=[{"to": "*", "via": "discard"}])
    submit(relay, "s@sender.test", ["before@b.test"], CONTENT)
    hook.answer = 503
    assert reload(relay, webhooks=[entry(tmp_path, hook, events=["received", "discarded"])]) == [
        "reloaded changed=webhooks"
    ]
    submit(relay, "s@sender.test", ["a@b.test"], CONTENT)
    wait_until(lambda: 'why="503 Service Unavailable"' in relay.output, "the relay says that it was refused")
    hook.answer = 200
    reload(relay, webhooks=[entry(tmp_path, hook, events=["held"])])
    wait_until(lambda: len(hook.taken) == 2, "what was owed is told")
    assert [one["event"] for one in hook.taken] == ["received", "discarded"]
    submit(relay, "s@sender.test", ["b@b.test"], CONTENT)
    hook.stop()
    held = hold_one(relay)
    wait_until(lambda: "cannot be connected to" in relay.output, "the relay says that nobody listens")
    reload(relay, webhooks=[])
    wait_until(lambda: "dropped=1" in relay.output, "what nobody is told any more is forgotten")
    assert len(hook.taken) == 2 and held


def hold_one(relay: Relay) -> str:
    """A message that waits, held by the `mta` command, which tells webhooks too."""
    reload(relay, routes=[{"to": "*", "via": "smtp://127.0.0.1:1"}])
    message = submit(relay, "s@sender.test", ["c@b.test"], CONTENT)
    relay.wait_until_deferred(message)
    relay.mta("hold", message)
    return message
