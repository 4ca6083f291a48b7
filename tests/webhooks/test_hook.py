"""When a webhook is told, in which order, again when, and what happens to what it never takes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from webhook_receiver import SECRET

from mta.message.timeline import Event
from mta.net import measures
from mta.net.measures import Measures
from mta.outbox import Standing, Subscription
from mta.spool.memory_outbox import MemoryOutbox
from mta.webhooks import hook as hooks
from mta.webhooks.hook import GIVE_UP, MOST_EVENTS, MOST_OCTETS, PAUSES, Hook, NotNow
from mta.webhooks.secret import Secret

URL = "https://hooks.test/T0KEN?secret=yes"


class World:
    """A hook over a memory outbox. trouble: why posts are not taken now. stalls: posts wait for `release`."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.outbox = MemoryOutbox(maybeDeferred, self.clock.seconds)
        self.outbox.subscribe([Subscription(URL, frozenset({"delivered", "failed"}))])
        self.posts: list[tuple[Mapping[str, str], bytes]] = []
        self.taken: list[str] = []
        self.trouble = ""
        self.stalled: list[Deferred[None]] = []
        self.stalls = False
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.measures = Measures()
        self.secret: str | None = SECRET
        self.hook = self.make()

    def make(self) -> Hook:
        return Hook(URL, lambda: self.secret, self.outbox, self.post, self.clock, self.log, self.measures)

    def log(self, kind: str, _message: int | None = None, /, **fields: Any) -> None:
        self.lines.append((kind, fields))

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        assert url == URL
        self.posts.append((headers, body))
        if self.stalls:
            self.stalled.append(Deferred())
            await self.stalled[-1]
        if self.trouble:
            raise NotNow(self.trouble)
        self.taken += [one["recipients"][0] for one in json.loads(body)["events"]]

    def owe(self, *names: str, kind: str = "delivered", **detail: Any) -> None:
        for name in names:
            self.outbox.owe(
                7, [Event(self.clock.seconds(), kind, {"recipients": [name], **detail})], "s@a.test", "b.test"
            )

    def waiting(self) -> int:
        found: list[int] = []
        self.outbox.waiting(URL).addCallback(found.append)
        return found[0]

    def pass_by(self, seconds: float) -> None:
        """Time passes, with a look each ten seconds."""
        for _ in range(int(seconds // 10)):
            self.clock.advance(10)
            self.hook.look()


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_owed_is_told_once_in_its_order(world: World) -> None:
    world.owe(*(f"{number}@b.test" for number in range(MOST_EVENTS * 2 + 5)))
    world.hook.look()
    assert world.taken == [f"{number}@b.test" for number in range(MOST_EVENTS * 2 + 5)]
    assert [len(json.loads(body)["events"]) for _, body in world.posts] == [MOST_EVENTS, MOST_EVENTS, 5]
    world.hook.look()
    assert len(world.posts) == 3
    assert world.waiting() == world.hook.waiting == 0
    assert world.measures.cells[measures.HOOK_TOLD] == MOST_EVENTS * 2 + 5


def test_a_post_is_bounded_in_octets_too(world: World) -> None:
    world.owe(*"abcdefgh", reply="x" * 100_000)
    world.owe("i", reply="x" * 2 * MOST_OCTETS)
    world.owe("j")
    world.hook.look()
    assert world.taken == list("abcdefghij")
    assert len(world.posts) == 6
    assert sorted(len(body) > MOST_OCTETS for _, body in world.posts) == [False] * 5 + [True]


def test_how_it_goes_is_written_down(world: World) -> None:
    world.trouble = "500 Internal Server Error"
    world.owe("first")
    world.hook.look()
    began = world.clock.seconds()
    assert world.outbox.standings == {URL: Standing(began, 1, "500 Internal Server Error", began + PAUSES[0])}
    world.trouble = ""
    world.pass_by(PAUSES[0])
    assert world.outbox.standings == {URL: Standing(began + PAUSES[0])}


def test_a_failure_is_repeated_with_growing_pauses_and_what_comes_meanwhile_waits_behind_it(world: World) -> None:
    world.trouble = "500 Internal Server Error"
    world.owe("first")
    world.hook.look()
    began, tries = world.clock.seconds(), []
    for _ in range(3 * 3600 // 10):
        posts = len(world.posts)
        world.pass_by(10)
        if len(world.posts) > posts:
            tries.append(world.clock.seconds() - began)
            world.owe(f"behind {len(tries)}")
    pauses = [*PAUSES, PAUSES[-1]]
    assert tries == [sum(pauses[: number + 1]) for number in range(len(pauses))]
    assert world.hook.failures == len(tries) + 1
    assert world.hook.trouble == "500 Internal Server Error"
    assert world.measures.cells[measures.HOOK_FAILED] == len(tries) + 1
    world.trouble = ""
    world.hook.hurry()
    world.hook.look()
    assert world.taken == ["first", *(f"behind {number}" for number in range(1, len(tries) + 1))]
    assert (world.hook.failures, world.hook.trouble) == (0, "")
    assert world.lines[-1] == ("webhook", {"hook": "https://hooks.test", "why": "takes events again"})


def test_what_is_not_taken_for_a_day_is_dropped_and_what_is_younger_is_not(world: World) -> None:
    world.trouble = "503"
    world.owe("old")
    world.hook.look()
    world.pass_by(GIVE_UP - 3600)
    world.owe("young")
    assert world.waiting() == 2
    world.pass_by(3600 + 120)
    assert world.waiting() == 1
    assert (
        "webhook",
        {"hook": "https://hooks.test", "why": "it has not been told in time", "dropped": 1},
    ) in world.lines
    assert world.measures.cells[measures.HOOK_DROPPED] == 1
    world.trouble = ""
    world.hook.hurry()
    world.hook.look()
    assert world.taken == ["young"]


def test_what_is_older_than_a_day_is_told_where_no_try_has_failed(world: World) -> None:
    world.owe("old")
    world.clock.advance(2 * GIVE_UP)
    world.hook.look()
    assert world.taken == ["old"]


def test_no_more_wait_than_there_is_room_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MOST_WAITING", 10)
    world.trouble = "503"
    world.owe(*map(str, range(25)))
    world.clock.advance(1)
    world.hook.look()
    assert world.hook.waiting == world.waiting() == 10
    world.trouble = ""
    world.hook.hurry()
    world.hook.look()
    assert world.taken == [str(number) for number in range(15, 25)]


def test_one_post_at_a_time(world: World) -> None:
    world.stalls = True
    world.owe("a", "b")
    for _ in range(5):
        world.hook.look()
    assert len(world.posts) == 1
    world.stalls = False
    world.stalled[0].callback(None)
    assert world.taken == ["a", "b"]


def test_stopping_waits_a_little_and_what_was_not_answered_is_told_again(world: World) -> None:
    world.stalls = True
    world.owe("a")
    world.hook.look()
    ended: list[Any] = []
    world.hook.stop(2.0).addBoth(ended.append)
    world.clock.advance(1.9)
    assert ended == []
    world.clock.advance(0.2)
    assert len(ended) == 1
    world.stalls = False
    world.hook = world.make()
    world.hook.look()
    assert world.taken == ["a"]
    assert json.loads(world.posts[0][1]) == json.loads(world.posts[1][1]), "with the same id"


def test_what_breaks_in_the_outbox_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Any) -> None:
        raise OSError("no disk")

    world.owe("a")
    with monkeypatch.context() as patch:
        patch.setattr(world.outbox, "told", broken)
        patch.setattr(hooks._log, "failure", lambda *_, **__: None)
        world.hook.look()
    world.pass_by(50)
    assert world.taken == ["a"]
    world.pass_by(20)
    assert world.taken == ["a", "a"], "told twice rather than never"
    assert world.waiting() == 0


def test_what_follows_the_host_is_in_no_line(world: World) -> None:
    world.trouble = "404 Not Found"
    world.owe("a")
    world.hook.look()
    assert len(world.lines) == 1
    assert "T0KEN" not in repr(world.lines) and SECRET not in repr(world.lines)


def test_what_it_is_about_and_without_a_secret_no_signature(world: World) -> None:
    world.secret = None
    world.owe("a")
    world.owe("b", kind="failed")
    world.owe("c")
    world.hook.look()
    [(headers, _)] = world.posts
    assert headers["X-Mta-Event"] == "delivered, bounced"
    assert headers["Content-Type"] == "application/json"
    assert "X-Mta-Signature" not in headers


# The secret's file


def test_a_secret_is_read_again_when_it_changes_and_kept_while_it_cannot_be(tmp_path: Path) -> None:
    def read(path: Path) -> str:
        text = path.read_text() if path.exists() else ""
        if not text:
            raise ValueError("is empty")
        return text

    lines: list[str] = []
    file = tmp_path / "secret"
    secret = Secret(file, read, lambda kind, _=None, /, **fields: lines.append(f"{kind} {fields['why']}"))
    with pytest.raises(NotNow, match="nothing to sign with"):
        secret()
    file.write_text("one")
    assert secret() == "one"
    file.write_text("another")
    assert secret() == "another"
    file.write_text("")
    assert (secret(), secret()) == ("another", "another")
    assert lines == [f"alarm {file} is empty; the secret that was in use stays in use"]
    file.unlink()
    assert secret() == "another"
