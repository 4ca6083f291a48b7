"""What schemathesis has to be told of this API: how a message goes on the wire, which it knows no media type for.

And it asks from many addresses: it shows each operation a wrong token, and who guesses has to wait, longer each time.
"""

import itertools
from typing import Any, Final

import schemathesis
from urllib3.util import connection

NO_MESSAGE: Final = b"\r"

_numbers = itertools.count(1)
_connect = connection.create_connection


@schemathesis.serializer("message/rfc822")
def as_it_is(ctx: schemathesis.SerializationContext, value: object) -> bytes:
    """A string is sent as it is. What is none, as JSON has it, cannot be said in octets: it is sent as no message."""
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else NO_MESSAGE


def from_another_address(address: tuple[str, int], *more: Any, **named: Any) -> Any:
    """A connection that comes from an address of the loopback network that no other has come from lately."""
    number = next(_numbers)
    named["source_address"] = (f"127.3.{number // 250 % 250}.{number % 250 + 1}", 0)
    return _connect(address, *more, **named)


connection.create_connection = from_another_address
