"""What schemathesis is told of this API: messages are sent as they are."""

import schemathesis


@schemathesis.serializer("message/rfc822")
def as_it_is(ctx: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
