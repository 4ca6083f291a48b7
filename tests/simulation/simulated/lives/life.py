"""A life, played from its beginning to its end on a virtual clock, with looks into the books on the way."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest.mock import patch

import apsw
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.delivery import history
from mta.message.envelope import parse_queue_id
from simulated.books import Books, read_books
from simulated.disk import Volume
from simulated.lives.audit import balance, bounds, everything
from simulated.lives.domains import HOSTS, NOBODY_LISTENS, configuration, zones
from simulated.lives.peers import Peer
from simulated.lives.plan import DAY, HOUR, MINUTE, Plan
from simulated.lives.senders import Letter, Sender, compose
from simulated.lives.tries import storms
from simulated.lives.troubles import OPERATOR_LOOKS, Troubles, hosts_of
from simulated.machine import NO_POLL, Machine
from simulated.network import START, World
from simulated.scenario import RELAY

LOOKS = 12  # into the books, most of them early
EARLY_LOOKS = (20.0, 100.0, 400.0)  # seconds
_QUEUED = b"250 2.0.0 queued as "
_STORED = "SELECT size, file FROM message WHERE id = ?1"
_ENDED = "SELECT 1 FROM timeline WHERE message = ?1"


@dataclass
class Life:
    """How it went. problems: every promise that was not kept."""

    plan: Plan
    world: World
    machine: Machine
    letters: list[Letter]
    peers: list[Peer]
    problems: list[str] = field(default_factory=list)

    def story(self) -> str:
        """All that was planned, said and done, and nothing of where it was played."""
        lines = [*self.plan.lines(), "", *self.world.transcript, "", "The relay's log:", *self.machine.lines, ""]
        return "\n".join(lines).replace(str(self.machine.volume.folder), "spool")


class _Player:
    """Plays one life in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        config = configuration(folder, plan.retry)
        self._folder = folder
        self._plan = plan
        world = World()
        poll = OPERATOR_LOOKS if plan.verbs or plan.workers > 1 else NO_POLL
        volume = Volume(config.spool, Random(f"disk {plan.seed}"))
        machine = Machine(world, volume, config, zones(), plan.points, plan.seed, plan.workers, poll)
        machine.may_crash = True
        machine.at_write = self._wrote
        hosts = {host: [one for one in plan.moods if host in hosts_of(one.whom)] for host in HOSTS}
        peers = [
            Peer(world, host, HOSTS[host], spells, lmtp=host == "store.host.test")
            for host, spells in hosts.items()
            if host not in (NOBODY_LISTENS, RELAY)
        ]
        letters = [Letter(posted, compose(posted, plan.seed)) for posted in plan.mails]
        self.life = Life(plan, world, machine, letters, peers)

    def play(self) -> None:
        """From the beginning to the end."""
        life, world, machine, plan = self.life, self.life.world, self.life.machine, self._plan
        Troubles(world, machine, plan).begin()
        for number, letter in enumerate(life.letters, 1):
            sender = Sender(world, f"198.51.100.{number}", letter, Random(f"{letter.posted.mark} {plan.seed}"))
            world.callLater(letter.posted.at, self._begin, sender)
        machine.start()
        for until in sorted([*EARLY_LOOKS, *(plan.length * (number / LOOKS) ** 3 for number in range(1, LOOKS + 1))]):
            world.run(max(0.0, START + until - world.seconds()))
            self._look()
            if life.problems:
                return
        life.problems += bounds(machine, idle=True)
        while not machine.stopped and world.seconds() < START + plan.length + DAY:
            machine.stop()  # again and again, as it may be hit while it stops
            world.run(MINUTE)
        if not machine.stopped:
            life.problems.append("the relay does not stop")
            return
        life.problems += everything(life, self._books())

    def _begin(self, sender: Sender) -> None:
        Deferred.fromCoroutine(sender.work()).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.life.problems.append(f"a sender failed: {failure.getTraceback()}")

    def _look(self) -> None:
        """Look into the books beside the running relay, or while it lies on the floor."""
        self.life.problems += [*balance(self._books()), *bounds(self.life.machine), *storms(self.life)]

    def _books(self) -> Books:
        """What is stored, read from a copy: nobody shall notice."""
        volume = self.life.machine.volume
        copy = self._folder / "copy"
        copy.mkdir()
        try:
            for path in volume.folder.glob("queue-*"):
                if path.suffix == ".db" or path.name.endswith("-wal"):
                    shutil.copyfile(path, copy / path.name)
            return read_books(Volume(copy), self.life.machine.clock())
        finally:
            shutil.rmtree(copy)

    def _wrote(self, octets: bytes) -> None:
        """The relay says something. Where it promises something, it must be on stable storage already."""
        start = octets.find(_QUEUED)
        while start >= 0:
            number = octets[start + len(_QUEUED) :].split(b"\r\n")[0].decode()
            if not self._is_stable(number):
                self.life.problems.append(f"250 was said for {number}, which is not on stable storage")
            start = octets.find(_QUEUED, start + 1)

    def _is_stable(self, number: str) -> bool:
        """Would it be there if the power went now, and all was lost that was not synced?"""
        volume = self.life.machine.volume
        message = parse_queue_id(number)
        files = volume.stable_files()
        copy = self._folder / "stable"
        copy.mkdir()
        try:
            for path, octets in files.items():
                if "/content/" not in path:
                    (copy / Path(path).name).write_bytes(octets)
            return any(
                self._has(path, message, number, files)
                for path in sorted(copy.glob("queue-*.db"))
                if path.stat().st_size
            )
        finally:
            shutil.rmtree(copy)

    def _has(self, path: Path, message: int | None, number: str, files: dict[str, bytes]) -> bool:
        db = apsw.Connection(str(path))
        try:
            for size, is_file in db.execute(_STORED, (message,)).fetchall():
                content = [octets for name, octets in files.items() if name.endswith(f"/{number}")]
                return not is_file or [len(one) for one in content] == [size]
            return bool(db.execute(_ENDED, (message,)).fetchall())
        finally:
            db.close()


def live(plan: Plan, folder: Path) -> Life:
    """Play a life in an empty folder. Whatever goes wrong is in its `problems`."""
    player = _Player(plan, folder)
    life = player.life
    try:
        # Thirty days are 43,200 looks for timelines that are too old, of which there are none.
        with patch.object(history, "INTERVAL", HOUR):
            player.play()
    except Exception:
        life.problems.append(traceback.format_exc())
    if life.problems and not life.machine.stopped:
        life.machine.abandon()
    return life


def problems_of(life: Life) -> Sequence[str]:
    """What to print of them."""
    return list(dict.fromkeys(life.problems))
