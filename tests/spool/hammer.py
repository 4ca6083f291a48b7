"""A worker for the crash tests: commits without end, and prints the ids that were acknowledged, one by line.

Usage: hammer.py FOLDER. Eager messages are recorded, a third of them as deferred; every tenth content is large.
"""

import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mta.interfaces import NewDelivery, Record, Waiting
from mta.message.envelope import Envelope, Recipient
from mta.spool.sqlite import SqliteSpool

spool = SqliteSpool(Path(sys.argv[1]), reactor, reactor.seconds, floor=0)


def say(word: str, message: int) -> None:
    sys.stdout.write(f"{word} {message}\n")
    sys.stdout.flush()


async def produce(number: int) -> None:
    turn = number
    while True:
        turn += 7
        now = reactor.seconds()
        reception = spool.receive(now)
        size = 300_000 if turn % 10 == 0 else 2_000
        content = str(reception.id).encode().ljust(size, b".")
        behind = reception.write(content)
        if behind is not None:
            await behind
        to = (Recipient(f"{turn}@example.net"),)
        delivery = NewDelivery(f"d{turn % 5}", to, now, now + 900, eager=turn % 2 == 0)
        claims = await reception.commit(Envelope("s@example.org", to, now, size), [delivery], ())
        say("kept", reception.id)
        for claim in claims:
            if turn % 3 == 0:
                waiting = Waiting(to, claim.destination, now, now + 900, 1, False, "450 later")
                await spool.record(Record(claim, now, (waiting,)))
            else:
                await spool.record(Record(claim, now))
                say("done", reception.id)


def main() -> None:
    found = spool.start()
    say("found", found.messages)
    for number in range(8):
        Deferred.fromCoroutine(produce(number)).addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))


reactor.callWhenRunning(main)
reactor.run()
