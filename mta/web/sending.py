"""Sending: POST /api/v1/messages."""

import socket
from collections.abc import Callable
from typing import Final, TypeVar

from mta.net.threads import Busy, Threads
from mta.web.api import row
from mta.web.exchange import Answer, Call, as_json, problem
from mta.web.routes import Route
from mta.web.schemas import LETTER, SUBMITTED, Operation, Parameter
from mta.web.seams import IRunning, OutOfOrder, Unusable
from mta.web.submission import AllRefused, Letter, Submitted, addressed, composed, submit

MOST_JSON: Final = 16 << 20  # octets; a larger message comes as message/rfc822, which is read block by block
UNBOUNDED: Final = 1 << 30  # octets, where `limits.message_size` is 0

Result = TypeVar("Result")

SENDER: Final = Parameter("from", {"type": "string", "maxLength": 320}, "For message/rfc822: the reverse-path.")
RECIPIENTS: Final = Parameter(
    "to",
    {"type": "array", "items": {"type": "string", "maxLength": 254}, "maxItems": 20},
    "For message/rfc822: a recipient, as often as there are some. The line of a request holds 16,384 octets.",
)


def routes(running: IRunning, threads: Threads, hostname: str, message_size: int) -> list[Route]:
    """The row. message_size: as in `limits`; 0 for any."""

    async def send(call: Call) -> Answer:
        letter = await _in_thread(threads, lambda: _letter(call))
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

    about = (
        "Submit a message: as JSON, or as it is (message/rfc822, with from and to in the query). It is answered with "
        "201 when it is on stable storage; recipients that were refused are named."
    )
    operation = Operation(
        "send",
        about,
        SUBMITTED,
        query=(SENDER, RECIPIENTS),
        bodies={"application/json": LETTER, "message/rfc822": {"type": "string", "minLength": 1}},
        status="201",
    )
    return [row("POST", "/messages", send, operation, most=(message_size or UNBOUNDED) + 65536)]


def _letter(call: Call) -> Letter:
    """In a thread: what is to be sent."""
    kind = call.header("content-type").partition(";")[0].strip().lower()
    asked = call.asked()
    unknown = asked.keys() - {"from", "to"}
    if unknown:
        raise Unusable(f"{min(unknown)[:40]!r} cannot be asked for here; there are from and to")
    if kind == "message/rfc822":
        if len(asked.get("from", [])) != 1 or call.content is None:
            raise Unusable("a message as it is needs from and to in the query: ?from=a@example.org&to=b@example.net")
        return addressed(asked["from"][0].strip("<>"), asked.get("to", []), call.content)
    if kind != "application/json":
        raise Unusable("the content is application/json or message/rfc822 (Content-Type)")
    if asked:
        raise Unusable("from and to belong to the message, where that is JSON")
    return composed(call.json(MOST_JSON))


def _created(done: Submitted) -> Answer:
    return as_json(done.told(), 201, Location=f"/api/v1/messages/{done.id}")


async def _in_thread(threads: Threads, work: Callable[[], Result]) -> Result:
    try:
        return await threads.run(work)
    except Busy:
        raise OutOfOrder("too much is being asked at once; try again later") from None
