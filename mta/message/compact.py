"""Compact JSON: the form in which envelopes and timelines are kept. Its text is ASCII, whatever a peer has said."""

import json
from collections.abc import Callable
from json import encoder


def _writer() -> Callable[[object], str]:
    """What `JSONEncoder.encode` does, with its writer made once: it makes one for each value, which takes longer than
    the little that there is to write."""
    plain = json.JSONEncoder(separators=(",", ":"), check_circular=False)
    make = getattr(encoder, "c_make_encoder", None)  # not every Python has the one in C
    if make is None:
        return plain.encode
    quoted = encoder.encode_basestring_ascii
    write = make(None, plain.default, quoted, None, plain.key_separator, plain.item_separator, False, False, True)
    return lambda value: "".join(write(value, 0))


to_json = _writer()
