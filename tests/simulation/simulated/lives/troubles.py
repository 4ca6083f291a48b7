"""Troubles: what comes over the network, the DNS, the disk, the clock and the machine, at the times that a plan has."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from mta.dns.memory import Name
from mta.interfaces import SpoolBroken
from mta.policy.exchangers import Exchanger
from mta.spool.desk import Desk
from mta.spool.matching import Selection
from simulated.disk import PLENTY, VirtualDisk
from simulated.lives.domains import DOMAINS, HOSTS, NOBODY_LISTENS, zones
from simulated.lives.plan import HOUR, Blow, Plan, Spell, seconds
from simulated.machine import Machine
from simulated.network import START, World
from simulated.wire import Transport

SHAKEN = 30.0  # seconds behind the end of a trouble of the disk in which it still explains something
OPERATOR_LOOKS = 300.0  # seconds between two looks of the relay for what an operator has done


class Network:
    """Decides what becomes of octets: `World.fate`."""

    def __init__(self, world: World, spells: Sequence[Spell], chance: Random) -> None:
        self._world = world
        self._spells = spells
        self._chance = chance

    def __call__(self, transport: Transport, octets: bytes) -> Sequence[tuple[float, bytes]] | None:
        chance, now = self._chance, self._world.seconds() - START
        moods = {one.what for one in self._spells if one.begins <= now < one.ends}
        if "breaks" in moods and chance.random() < 0.03:
            self._world.note("network", f"breaks between {transport.getHost().host} and {transport.getPeer().host}")
            return None
        late = chance.choice((0.0, 0.0, 0.5, 5.0)) if "is late" in moods else 0.0
        if "splits" not in moods or len(octets) < 2:
            return [(late, octets)]
        cut = chance.randrange(1, len(octets))
        return [(late, octets[:cut]), (late + chance.choice((0.0, 0.01)), octets[cut:])]


class Troubles:
    """Sees to it that the plan's troubles happen."""

    def __init__(self, world: World, machine: Machine, plan: Plan) -> None:
        self._world = world
        self._machine = machine
        self._plan = plan
        self._chance = Random(f"troubles {plan.seed}")

    def begin(self) -> None:
        """From now on."""
        plan, machine = self._plan, self._machine
        machine.may_fail = self.disk_is_shaken
        self._world.fate = Network(self._world, plan.network, self._chance)
        for spell in plan.dns:
            self._at(spell.begins, self._lie, spell)
            self._at(spell.ends, self._tell_the_truth, spell)
        for spell in plan.moods:
            if spell.what == "is unreachable":
                for host in hosts_of(spell.whom):
                    self._at(spell.begins, self._world.silent.add, HOSTS[host])
                    self._at(spell.ends, self._world.silent.discard, HOSTS[host])
        self._world.silent.update([HOSTS[NOBODY_LISTENS]] if plan.seed % 2 else [])
        for spell in plan.disk:
            self._at(spell.begins, self._disk_fails, spell)
            self._at(spell.ends, self._disk_works)
        for blow in plan.blows:
            self._at(blow.at, self._hit, blow)
        for spell in plan.verbs:
            self._at(spell.begins, self._operate, spell)
        # What is held by then, and the double bounces that are held because they could not be delivered either.
        for after in (0.0, HOUR, seconds(plan.retry[2]), 2 * seconds(plan.retry[2])):
            self._at(plan.calm + after, self._operate, Spell(0, 0, "", "release"))

    def disk_is_shaken(self) -> bool:
        """Is the disk in trouble, or was it a moment ago?"""
        now = self._world.seconds() - START
        return any(one.begins <= now <= one.ends + SHAKEN for one in self._plan.disk)

    def _at(self, when: float, call: object, *arguments: object) -> None:
        self._world.callLater(START + when - self._world.seconds(), call, *arguments)  # type: ignore[arg-type]

    def _lie(self, spell: Spell) -> None:
        self._world.note("DNS", f"{spell.whom}: {spell.what}")
        zone, domain = self._machine.zones, spell.whom
        lies = {
            "no records": Name(a=[]),
            "null MX": Name(mx=[Exchanger(0, "")]),
            "elsewhere": Name(mx=[Exchanger(10, "elsewhere.test")]),
            "nowhere": Name(mx=[Exchanger(10, "nowhere.test")]),
            "alias": Name(alias="one.test"),
            "ourselves": Name(mx=[Exchanger(10, "relay.test")]),
        }
        if spell.what == "servfail":
            self._machine.unanswered.add(domain)
        elif spell.what == "no name":
            zone.pop(domain, None)
        else:
            zone[domain] = lies[spell.what]

    def _tell_the_truth(self, spell: Spell) -> None:
        self._machine.unanswered.discard(spell.whom)
        if spell.whom in DOMAINS:
            self._machine.zones[spell.whom] = zones()[spell.whom]
        else:
            self._machine.zones.pop(spell.whom, None)

    def _disk_fails(self, spell: Spell) -> None:
        self._world.note("disk", spell.what)
        volume = self._machine.volume
        if spell.what.startswith("full"):
            volume.is_full = True
            volume.free = 0 if spell.what == "full" else PLENTY
        else:
            volume.failing = 10**9 if spell.what == "sync fails long" else self._chance.choice((1, 1, 2, 5))

    def _disk_works(self) -> None:
        self._world.note("disk", "works")
        volume = self._machine.volume
        volume.is_full, volume.free, volume.failing = False, PLENTY, 0

    def _hit(self, blow: Blow) -> None:
        machine = self._machine
        if blow.how == "clock":
            machine.set_clock(machine.ahead + blow.amount)
            return
        if not machine.running or machine.is_stopping:
            return
        victim = self._chance.choice(machine.running)
        self._world.note("relay", f"is hit: {blow.how}, worker {victim.number}")
        machine.strike(victim, blow.how, blow.amount)

    def _operate(self, spell: Spell) -> None:
        selection = Selection(to=spell.whom) if spell.whom else Selection()
        volume, now = self._machine.volume, self._machine.clock
        disk = VirtualDisk(volume)
        try:
            with Desk(volume.folder, now, disk=disk, vfs=disk.vfs, rest=lambda seconds: None) as desk:
                done = getattr(desk, spell.what)(selection)
            self._world.note("operator", f"{spell.what} {spell.whom}: {done} recipients")
        except SpoolBroken as error:
            self._world.note("operator", f"{spell.what} {spell.whom}: {error}")
            if not self.disk_is_shaken():
                raise
        finally:
            disk.end()


def hosts_of(whom: str) -> Sequence[str]:
    """Whose host has a mood that is said to be that of a domain, or of the store."""
    if whom == "store":
        return ("store.host.test",)
    if whom == "smart.test":
        return ("smart.host.test",)
    return DOMAINS.get(whom, ())
