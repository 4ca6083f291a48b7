"""What schemathesis has to be told of this API: how a message goes on the wire, which it knows no media type for."""

import schemathesis

NO_MESSAGE = b"\r"


@schemathesis.serializer("message/rfc822")
def as_it_is(ctx: schemathesis.SerializationContext, value: object) -> bytes:
    """A string is sent as it is. What is none, as JSON has it, cannot be said in octets: it is sent as no message."""
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else NO_MESSAGE
