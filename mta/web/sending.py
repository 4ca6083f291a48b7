"""Sending: POST /api/v1/messages and /api/v1/submissions."""

import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from mta.net.threads import Busy, Threads
from mta.web import patterns
from mta.web.api import asked_for, row
from mta.web.exchange import Answer, Call, as_json, problem
from mta.web.patterns import like
from mta.web.routes import Route
from mta.web.schemas import LETTER, MOST_RECIPIENTS, SUBMITTED, Operation, needed
from mta.web.seams import IRunning, OutOfOrder, Unusable
from mta.web.submission import AllRefused, Letter, Submitted, addressed, composed, submit

MOST_JSON: Final = 16 << 20  # octets; a larger message comes as message/rfc822, which is read block by block
RAW: Final = "message/rfc822"
UNBOUNDED: Final = 1 << 30  # octets, where `limits.message_size` is 0

Result = TypeVar("Result")

SENDER: Final = needed("from", "The reverse-path; empty for the null one.", like(patterns.REVERSE_PATH))
RECIPIENTS: Final = needed(
    "to",
    "A recipient, as often as there are some.",
    {"type": "array", "items": like(patterns.MAILBOX), "minItems": 1, "maxItems": MOST_RECIPIENTS},
)
LATER: Final[Mapping[str, Any]] = {"message": {"operationId": "message", "parameters": {"id": "$response.body#/id"}}}
"""What can be asked of a message that was submitted, whatever has become of it."""


def routes(running: IRunning, threads: Threads, hostname: str, message_size: int) -> list[Route]:
    """The rows. message_size: as in `limits`; 0 for any."""

    async def send(call: Call) -> Answer:
        return await hand_over(await _in_thread(threads, lambda: _letter(call)))

    async def send_on(call: Call) -> Answer:
        return await hand_over(await _in_thread(threads, lambda: _as_it_is(call)))

    async def hand_over(letter: Letter) -> Answer:
        ours, theirs = socket.socketpair()
        if not running.admit(theirs):
            ours.close()
            raise OutOfOrder("no worker can take the message now; try again later")
        try:
            done = await _in_thread(threads, lambda: submit(ours, hostname, letter))
        except AllRefused as error:
            refused = [one._asdict() for one in error.refused]
            status = 503 if error.later else 422
            return problem(status, "Refused", str(error), refused=refused)
        finally:
            ours.close()
        return _created(done)

    # Two rows, so that the description can say of each what it has to have; the first takes either.
    done = "It is answered with 201 when it is on stable storage; recipients that were refused are named."
    most = (message_size or UNBOUNDED) + 65536
    return [
        row("POST", "/messages", send, Operation("send", f"Submit a message as JSON. {done} A message as it is "
            "(message/rfc822) is taken here, too, as at /submissions.",
            SUBMITTED, body=LETTER, status="201", links=LATER), most),
        row("POST", "/submissions", send_on, Operation("sendOn", f"Submit a message as it is. {done}",
            SUBMITTED, query=(SENDER, RECIPIENTS), bodies={RAW: like(patterns.CONTENT, minLength=1)}, status="201",
            links=LATER), most),
    ]  # fmt: skip


def _letter(call: Call) -> Letter:
    """In a thread: what is to be sent."""
    kind = _kind(call)
    if kind == RAW:
        return _as_it_is(call)
    if kind != "application/json":
        raise Unusable("the content is application/json or message/rfc822 (Content-Type)")
    asked_for(call)
    return composed(call.json(MOST_JSON))


def _as_it_is(call: Call) -> Letter:
    asked = call.asked()
    unknown = asked.keys() - {"from", "to"}
    if unknown:
        raise Unusable(f"{min(unknown)[:40]!r} cannot be asked for here; there are from and to")
    if _kind(call) != RAW:
        raise Unusable("the content is message/rfc822 (Content-Type)")
    if len(asked.get("from", [])) != 1 or call.content is None:
        raise Unusable("a message as it is needs from and to in the query: ?from=a@example.org&to=b@example.net")
    call.content.seek(0)
    if not call.content.read(1):
        raise Unusable("the content is empty; a message has a header")
    return addressed(asked["from"][0], asked.get("to", []), call.content)


def _kind(call: Call) -> str:
    return call.header("content-type").partition(";")[0].strip().lower()


def _created(done: Submitted) -> Answer:
    return as_json(done.told(), 201, Location=f"/api/v1/messages/{done.id}")


async def _in_thread(threads: Threads, work: Callable[[], Result]) -> Result:
    try:
        return await threads.run(work)
    except Busy:
        raise OutOfOrder("too much is being asked at once; try again later") from None
