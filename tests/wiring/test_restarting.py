"""Whether a relay begins anew: what a rehearsal looks at, what comes of it, and who may ask."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import apsw
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.testing import StringTransport

from mta.config.load import load
from mta.config.model import Config
from mta.config.units import SocketAddress
from mta.net.handover import HandedOver, Rehearsal
from mta.net.systemd import Systemd
from mta.spool.database import APPLICATION_ID
from mta.spool.disk import Disk
from mta.wiring.control import Control, _Caller, own_version, short_path
from mta.wiring.program import COULD, Program
from mta.wiring.rehearsing import ROOM, _try, rehearse
from mta.wiring.restarting import Restarting, names_of
from mta.wiring.trouble import CannotStart

NOTHING = Rehearsal([], ["smtp"])


def written(folder: Path, text: str = "") -> Config:
    (folder / "mta.yml").write_text(f"spool: spool\nhostname: mail.example.org\nadmin: {{listen: null}}\n{text}")
    return load(folder / "mta.yml")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


def listening(folder: Path, *addresses: str) -> Config:
    return written(folder, "listen: [" + ", ".join(f'{{address: "{one}"}}' for one in addresses) + "]\n")


def test_what_can_be_listened_on_passes(tmp_path: Path, taken: int) -> None:
    """So does what is in the way of nobody but the relay itself, which will let go of it."""
    rehearse(listening(tmp_path, "127.0.0.1:0", "[::1]:0", f"unix:{tmp_path}/door", "systemd:smtp"), NOTHING)
    rehearse(listening(tmp_path, f"127.0.0.1:{taken}"), Rehearsal([f"127.0.0.1:{taken}"], []))
    rehearse(listening(tmp_path, f"0.0.0.0:{taken}"), Rehearsal([f"127.0.0.1:{taken}"], []))
    assert not (tmp_path / "door").exists()


def test_what_cannot_be_listened_on_is_named(tmp_path: Path, taken: int) -> None:
    for address, why in (
        (f"127.0.0.1:{taken}", "Address already in use"),
        (f"0.0.0.0:{taken}", "Address already in use"),
        (f"unix:{tmp_path}/nowhere/door", "No such file or directory"),
        ("systemd:submission", "systemd has handed over no socket of that name .it has handed over smtp."),
    ):
        with pytest.raises(CannotStart, match=f"^cannot listen on {address}: {why}"):
            rehearse(listening(tmp_path, address), NOTHING)
    config = listening(tmp_path).model_copy(update={"admin": load_admin(tmp_path, taken)})
    with pytest.raises(CannotStart, match=rf"^cannot listen on 127.0.0.1:{taken} \(admin.listen\): Address already"):
        rehearse(config, NOTHING)


@pytest.mark.parametrize(
    "name", ["127.0.0.1:{}0", "127.0.0.2:{}", "[::{}]:25", "unix:/var/run:{}", "/var/spool:{} (control)"]
)
def test_what_only_looks_as_if_it_were_in_the_way_is_no_excuse(tmp_path: Path, taken: int, name: str) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        _try(SocketAddress("127.0.0.1", taken), Rehearsal([name.format(taken)], []))


def test_what_the_console_has_may_be_in_the_way(tmp_path: Path, taken: int) -> None:
    _try(SocketAddress("127.0.0.1", taken), Rehearsal([f"0.0.0.0:{taken} (admin.listen)"], []))


def test_a_queue_is_not_left_behind_by_a_relay_that_has_it(tmp_path: Path) -> None:
    config = listening(tmp_path)
    with pytest.raises(CannotStart, match=f"^the spool {config.spool} has gone, though the relay that runs has it"):
        rehearse(config, Rehearsal(names_of(config), []))
    config.spool.mkdir(mode=0o700)
    rehearse(config, Rehearsal(names_of(config), []))
    other = config.model_copy(update={"spool": tmp_path / "other"})
    with pytest.raises(
        CannotStart, match=f"^spool is {tmp_path}/other by now, and the relay that runs has {config.spool}"
    ):
        rehearse(other, Rehearsal(names_of(config), []))


def test_a_spool_that_cannot_be_looked_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(disk: Disk, folder: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(folder))

    config = listening(tmp_path)
    config.spool.mkdir(mode=0o700)
    monkeypatch.setattr(Disk, "names", refuse)
    with pytest.raises(CannotStart, match=f"^the spool {config.spool} cannot be used: .*Permission denied"):
        rehearse(config, NOTHING)


def test_a_disk_that_a_start_could_not_write_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the relay that runs goes on, and empties its queue, a start ends."""
    config = listening(tmp_path)
    config.spool.mkdir(mode=0o700)
    rehearse(config, NOTHING)
    monkeypatch.setattr(Disk, "free_octets", lambda *_: ROOM - 1)
    with pytest.raises(CannotStart, match=f"^less than 16 MiB are free on the disk of the spool {config.spool}"):
        rehearse(config, NOTHING)


def load_admin(folder: Path, port: int) -> Any:
    (folder / "admin.yml").write_text(f"spool: spool\nhostname: h.test\nadmin: {{listen: 127.0.0.1:{port}}}\n")
    return load(folder / "admin.yml").admin


@pytest.mark.parametrize(
    ("version", "why"),
    [(99, "was written by a newer version of this program"), (0, "cannot be used: it is not a queue file"), (1, "")],
)
def test_a_queue_file_that_it_does_not_know_is_named_and_left_as_it_is(tmp_path: Path, version: int, why: str) -> None:
    config = listening(tmp_path)
    config.spool.mkdir(mode=0o700)
    file = config.spool / "queue-0.db"
    with apsw.Connection(str(file)) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}")
        db.execute("PRAGMA journal_mode = WAL")
    db.close()
    file.chmod(0o600)
    before = file.read_bytes()
    if why:
        with pytest.raises(CannotStart, match=f"^the queue file {file} {why}"):
            rehearse(config, NOTHING)
    else:
        rehearse(config, NOTHING)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("code", "version", "reasons"),
    [
        (f"print('noise'); print('{COULD}9.9')", "9.9", []),
        (f"print('{COULD}9.9'); raise SystemExit(1)", "", ["it ended with status 1"]),
        ("print('another program')", "", ["it ended with status 0"]),
        ("raise SystemExit('mta: one\\n\\ntwo')", "", ["one", "two"]),
        ("import nowhere", "", ["ModuleNotFoundError: No module named 'nowhere'"]),
    ],
)
def test_what_a_rehearsal_says(tmp_path: Path, code: str, version: str, reasons: list[str]) -> None:
    told, why = Program((sys.executable, "-c", code), str(tmp_path)).rehearse(NOTHING, Event())
    assert (told, list(why)) == (version, reasons)


def test_a_program_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    told, [why] = Program((str(tmp_path / "nowhere"),), str(tmp_path)).rehearse(NOTHING, Event())
    assert (told, why.startswith("the program cannot be started: ")) == ("", True)


SLEEPER = "import subprocess, sys; subprocess.Popen(['sleep', '20'], stdin=-3)"  # which has the pipes of whom it is of


@pytest.mark.parametrize(
    ("code", "within", "answer"),
    [
        ("import time; time.sleep(20)", 0.3, ("", "the program does not say within 0.3 s whether it could start")),
        ("while True: print('x' * 60_000)", 0.3, ("", "the program does not say within 0.3 s whether it could start")),
        (f"print('x' * 10_000_000); print('{COULD}9.9')", 20.0, ("9.9",)),
        (f"{SLEEPER}; print('{COULD}9.9')", 20.0, ("9.9",)),
    ],
    ids=["hangs", "never stops talking", "has much to say", "leaves somebody behind"],
)
def test_a_rehearsal_costs_no_more_time_and_memory_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, within: float, answer: tuple[str, ...]
) -> None:
    monkeypatch.setattr("mta.wiring.program.PATIENCE", within)
    began = time.monotonic()
    version, reasons = Program((sys.executable, "-c", code), str(tmp_path)).rehearse(NOTHING, Event())
    assert (version, *reasons) == answer
    assert time.monotonic() - began < 10


def test_a_rehearsal_that_is_called_off_keeps_nobody_waiting(tmp_path: Path) -> None:
    is_called_off = Event()
    is_called_off.set()
    began = time.monotonic()
    sleeps = Program((sys.executable, "-c", "import time; time.sleep(20)"), str(tmp_path))
    assert sleeps.rehearse(NOTHING, is_called_off) == ("", ["the relay is stopping"])
    assert time.monotonic() - began < 10


class World:
    """A relay that may begin anew, with nothing real in it; it is its own reactor.

    queued: what the reactor does in its next turn, before what is asked for from now on.
    """

    def __init__(
        self, config: Config, answer: "Deferred[tuple[str, list[str]]]", program: Program | None = None
    ) -> None:
        self.ours = ours = [socket.socket().detach() for _ in range(3)]
        self.queued: list[Callable[[], object]] = []
        self.log: list[Any] = []
        self.asked: list[Any] = []
        self.stops = 0
        self.systemd = Systemd()
        self.restarting = Restarting(
            self,
            program or Program(("mta",), "/"),
            self.systemd,
            None,
            lambda kind, *_, **fields: self.log.append((kind, *fields.values())),
            lambda work, *words: self.asked.append(words) or answer,
            lambda: config,
            [lambda: {"a": ours[:1]}, lambda: {"b": ours[1:]}],
        )

    def stop(self) -> None:
        if self.stops:
            raise ReactorNotRunning
        self.stops += 1

    def callFromThread(self, call: Callable[..., object], *words: object) -> None:
        for one in self.queued:
            one()
        call(*words)

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], None]) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.shut_down = call


def now(answer: "Deferred[Any]") -> Any:
    got: list[Any] = []
    answer.addCallback(got.append)
    return got[0] if got else None


def test_a_rehearsal_that_does_not_go_well_changes_nothing_and_one_is_under_way_at_a_time(tmp_path: Path) -> None:
    answer = Deferred[tuple[str, list[str]]]()
    world = World(listening(tmp_path, "127.0.0.1:25"), answer)
    first, second = world.restarting.restart(), world.restarting.restart()
    assert now(second) == ["it is being started anew already"]
    [(rehearsal, _)] = world.asked
    assert rehearsal.names == ["127.0.0.1:25", f"{tmp_path}/spool (control)"]
    answer.callback(("", ["one", "two"]))
    assert now(first) == ["one", "two"]
    assert world.log == [("not-restarted", "one"), ("not-restarted", "two")]
    assert (world.stops, world.systemd.keeps_us) == (0, False)
    world.restarting.finish()  # returns: it just ends
    answer.addCallback(lambda _: ("", ["three"]))
    assert now(world.restarting.restart()) == ["three"]
    assert len(world.asked) == 2


class Executed(Program):
    """Remembers what it would be executed with."""

    executed: ClassVar[list[Mapping[str, str]]] = []

    def execute(self, environment: Mapping[str, str]) -> None:
        self.executed.append(environment)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """What the process would do for them."""
    handlers: dict[int, Any] = {}

    def handle(number: int, handler: Any) -> Any:
        before = handlers.get(number, "usual")
        handlers[number] = handler
        return before

    monkeypatch.setattr(signal, "signal", handle)
    return handlers


def test_one_that_goes_well_ends_this_and_begins_that_with_what_listens(
    tmp_path: Path, signals: dict[int, Any]
) -> None:
    world = World(listening(tmp_path), succeed(("1.0", [])), Executed(("mta",), "/"))
    Executed.executed.clear()
    assert now(world.restarting.restart()) == []
    assert (world.log, world.stops, world.systemd.keeps_us) == ([("restarting", "1.0")], 1, True)
    assert signals.keys() == {signal.SIGTERM, signal.SIGINT}
    world.restarting.finish()
    [environment] = Executed.executed
    handed = HandedOver.of_environment(dict(environment), os.getpid())
    assert handed.has_begun_anew
    assert [len(handed.take(name)) for name in ("a", "b", "c")] == [1, 2, 0]


def test_who_wants_it_to_end_meanwhile_has_it_end(tmp_path: Path, signals: dict[int, Any]) -> None:
    world = World(listening(tmp_path), succeed(("1.0", [])), Executed(("mta",), "/"))
    Executed.executed.clear()
    world.restarting.restart()
    signals[signal.SIGTERM](signal.SIGTERM, None)
    assert not world.systemd.keeps_us
    world.restarting.finish()
    assert Executed.executed == []


def in_rehearsal(world: World, answer: "Deferred[Any]") -> None:
    """It is told to stop while it rehearses, which takes less time than what is under way."""
    world.stop()
    world.shut_down()
    [(_, is_called_off)] = world.asked
    assert is_called_off.is_set()
    answer.callback(("1.0", []))


def before_rehearsal(world: World, answer: "Deferred[Any]") -> None:
    """It has been told to stop, and rehearses while what is under way ends."""
    world.stop()
    answer.callback(("1.0", []))


def in_the_same_turn(world: World, answer: "Deferred[Any]") -> None:
    """The reactor has heard of it, and not yet done it, when the rehearsal has gone well."""
    world.queued.append(world.stop)
    answer.callback(("1.0", []))


def a_moment_later(world: World, answer: "Deferred[Any]") -> None:
    """The signal comes when the reactor is not asked for it any more."""
    world.queued.append(world.restarting.call_off)
    answer.callback(("1.0", []))


@pytest.mark.parametrize("when", [in_rehearsal, before_rehearsal, in_the_same_turn, a_moment_later])
def test_whoever_is_told_to_stop_stops_and_does_not_begin_anew(
    tmp_path: Path, signals: dict[int, Any], when: Callable[[World, "Deferred[Any]"], None]
) -> None:
    answer = Deferred[Any]()
    world = World(listening(tmp_path), answer, Executed(("mta",), "/"))
    Executed.executed.clear()
    asked = world.restarting.restart()
    when(world, answer)
    assert now(asked) == ["the relay is stopping"]
    assert world.log == [("not-restarted", "the relay is stopping")]
    assert (world.stops, world.systemd.keeps_us) == (1, False)
    assert set(signals.values()) <= {"usual"}
    world.restarting.finish()
    assert Executed.executed == []


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), ValueError("a bug")])
def test_what_cannot_be_handed_over_leaves_all_as_it_was(
    tmp_path: Path, signals: dict[int, Any], error: Exception
) -> None:
    def broken() -> Mapping[str, Any]:
        raise error

    world = World(listening(tmp_path), succeed(("1.0", [])))
    world.restarting._parts = [world.restarting._parts[0], broken]
    [why] = now(world.restarting.restart())
    assert str(error.args[-1]) in why
    assert (world.stops, world.systemd.keeps_us, set(signals.values())) == (0, False, {"usual"})
    assert [is_open(one) for one in world.ours] == [False, True, True]
    assert world.restarting._is_busy is False


def test_a_bug_in_a_rehearsal_is_a_reason_and_no_hindrance_for_the_next(tmp_path: Path) -> None:
    world = World(listening(tmp_path), fail(ValueError("a bug")))
    for _ in range(2):
        assert now(world.restarting.restart()) == ["unexpected ValueError: a bug (the log has more)"]


def test_a_bug_on_the_way_is_a_reason_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a restart that a signal has asked for nobody would hear otherwise, and it would be busy for ever."""

    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(signal, "signal", broken)
    world = World(listening(tmp_path), succeed(("1.0", [])))
    assert now(world.restarting.restart()) == ["unexpected ValueError: a bug (the log has more)"]
    assert world.log == [("not-restarted", "unexpected ValueError: a bug (the log has more)")]
    assert (world.restarting._is_busy, world.stops) == (False, 0)
    world.restarting.finish()


def test_one_that_is_stopped_on_its_way_leaves_no_names_behind(tmp_path: Path, signals: dict[int, Any]) -> None:
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(tmp_path / "door"))
    world = World(listening(tmp_path), succeed(("1.0", [])), Executed(("mta",), "/"))
    world.restarting._parts = [lambda: {"door": [door.detach()]}]
    Executed.executed.clear()
    assert now(world.restarting.restart()) == []
    signals[signal.SIGTERM](signal.SIGTERM, None)
    world.restarting.finish()
    assert (Executed.executed, (tmp_path / "door").exists()) == ([], False)


def test_whoever_stops_it_when_it_is_too_late_for_that_ends_the_process(
    tmp_path: Path, signals: dict[int, Any]
) -> None:
    """Between the last look whether it is to end, and the program that begins, nobody could see to it."""
    world = World(listening(tmp_path), succeed(("1.0", [])), Executed(("mta",), "/"))
    world.restarting.restart()
    world.restarting.finish()
    assert signals == {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.SIG_DFL}


class Gone(Program):
    """Has been removed since it rehearsed."""

    def execute(self, environment: Mapping[str, str]) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/opt/mta/bin/python")


def test_a_program_that_has_gone_ends_it_and_says_so(
    tmp_path: Path, signals: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("mta.wiring.restarting.os._exit", ended.append)
    world = World(listening(tmp_path), succeed(("1.0", [])), Gone(("mta",), "/"))
    world.restarting.restart()
    world.restarting.finish()
    assert ended == [70]
    [_, (kind, why)] = world.log
    assert (kind, why.startswith("the program cannot be executed: [Errno 2]")) == ("alarm", True)
    assert [is_open(one) for one in world.ours] == [False] * 3, "nobody waits at what nobody listens at"


def test_the_names_are_those_that_listeners_look_for(tmp_path: Path) -> None:
    config = load_all(tmp_path)
    assert names_of(config) == [
        "0.0.0.0:25",
        f"unix:{tmp_path}/door",
        "systemd:smtp",
        "127.0.0.1:8025 (admin.listen)",
        f"{tmp_path}/spool (control)",
    ]


def load_all(folder: Path) -> Config:
    (folder / "mta.yml").write_text(
        "spool: spool\nhostname: h.test\n"
        'listen: [{address: "0.0.0.0:25"}, {address: "unix:door"}, {address: "systemd:smtp"}]\n'
    )
    return load(folder / "mta.yml")


def test_the_control_socket_is_for_its_user_and_root_however_long_its_path_is(tmp_path: Path) -> None:
    spool = tmp_path / ("x" * 90) / "spool"
    spool.mkdir(parents=True)
    (spool / "control").write_text("left over")
    log: list[Any] = []
    control = Control(reactor, spool, HandedOver(), lambda *words, **fields: log.append(fields), lambda: succeed([]))
    control.startService()
    assert (spool / "control").is_socket()
    assert (spool / "control").stat().st_mode & 0o777 == 0o600
    with short_path(spool) as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    control.stopService()
    assert (log, list(spool.iterdir())) == ([], [])
    control.startService()
    (spool / "control").unlink()
    with socket.socket(socket.AF_UNIX) as other, short_path(spool) as path:
        other.bind(path)
    control.stopService()
    assert (spool / "control").exists(), "another relay has the spool by now"
    broken = Control(reactor, tmp_path / "nowhere", HandedOver(), lambda *_, **fields: log.append(fields), lambda: None)
    broken.startService()
    assert log == [{"why": f"nobody can ask for a restart at {tmp_path}/nowhere/control: No such file or directory"}]


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_control_socket_that_has_lost_its_name_is_made_anew(tmp_path: Path, is_linked: bool) -> None:
    log: list[Any] = []

    def made(handed: HandedOver) -> Control:
        return Control(reactor, tmp_path, handed, lambda *words, **fields: log.append(fields), lambda: succeed([]))

    before = made(HandedOver())
    before.startService()
    handed = HandedOver(before.hand_over())
    (tmp_path / "control").unlink()
    if is_linked:
        (tmp_path / "control").symlink_to(tmp_path / "elsewhere")
    after = made(handed)
    after.startService()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "control"))
    after.stopService()
    assert (log, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b'{"do": "tell"}', {"process": os.getpid(), "version": own_version()}),
        (b'{"do": "restart"}', {"reasons": ["one"]}),
        (b'{"do": "dance"}', {"reasons": ["this relay does not know what is asked; its program is another version"]}),
        (b"\xff", {"reasons": ["this relay does not know what is asked; its program is another version"]}),
        (b"[" * 999, {"reasons": ["this relay does not know what is asked; its program is another version"]}),
        (b"[1]", {"reasons": ["this relay does not know what is asked; its program is another version"]}),
    ],
)
def test_what_is_asked_is_answered(line: bytes, answer: dict[str, Any]) -> None:
    caller, transport = _Caller(lambda: succeed(["one"])), _OfUser(os.geteuid())
    caller.makeConnection(transport)
    caller.dataReceived(line + b"\n")
    assert json.loads(transport.value()) == answer


@pytest.mark.parametrize(("user", "cut"), [(0, False), (os.geteuid(), False), (12345, True)])
def test_another_user_is_cut_off(user: int, cut: bool) -> None:
    transport = _OfUser(user)
    _Caller(lambda: succeed([])).makeConnection(transport)
    assert transport.disconnecting == cut


class _OfUser(StringTransport):
    """A connection of a user."""

    def __init__(self, user: int) -> None:
        super().__init__()
        self.socket = self
        self.user = user

    def getsockopt(self, *_: int) -> bytes:
        return b"".join(number.to_bytes(4, sys.byteorder) for number in (4711, self.user, 0))
