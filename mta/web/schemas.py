"""Schemas: what goes in and out of the API, as JSON Schema, and operations described with it (OpenAPI 3.1)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from mta.web import patterns
from mta.web.patterns import like
from mta.web.seams import STATES, VERBS

Schema = Mapping[str, Any]

MOST_RECIPIENTS: Final = 1000
MOST_ATTACHMENTS: Final = 100
MOST_FIELDS: Final = 100  # of a header, beside those that have a key of their own

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_TIME: Final = {"type": "string", "format": "date-time", "description": "UTC, to the millisecond"}
_MAYBE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
WORD_SCHEMA: Final = like(patterns.WORD, minLength=1, maxLength=512)
QUEUE_ID: Final = like(patterns.QUEUE_ID, examples=["CRBHHW0X0700"])
SPAN: Final = {"type": "string", "pattern": "^[0-9]{1,4}[smhd]$"}


def a(properties: Mapping[str, Schema], optional: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """An object."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required, **more}


def many(items: Schema) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "items": items}


RECIPIENT: Final = a(
    {
        "address": _TEXT,
        "state": {"type": "string", "description": f"{', '.join(STATES)}; or the word for how it ended"},
        "next_attempt": _MAYBE_TIME,
        "last_reply": _TEXT,
    }
)
_KNOWN: Final[dict[str, Schema]] = {
    "id": QUEUE_ID,
    "size": _COUNT,
    "sender": {"type": "string", "description": "the reverse-path; empty for the null one"},
    "created": _TIME,
    "recipients": many(RECIPIENT),
}
QUEUE: Final = a(
    {
        "messages": many(a(_KNOWN)),
        "totals": a({"messages": _COUNT, "recipients": _COUNT, "octets": _COUNT}),
    }
)
MESSAGE: Final = a(
    {
        **_KNOWN,
        "ended": _MAYBE_TIME,
        "events": many(a({"time": _TIME, "event": _TEXT}, description="with details, by the kind of the event")),
    }
)
CHANGE: Final = {
    **a({"ids": {**many(QUEUE_ID), "minItems": 1, "maxItems": 1000}, "to": WORD_SCHEMA, "from": WORD_SCHEMA,
         "all": {"const": True}}, optional=("ids", "to", "from", "all"), additionalProperties=False),
    "description": "which mail is meant, in one way: by ids, by to and from, or all of it",
    "oneOf": [
        {"required": ["ids"], "not": {"anyOf": [{"required": ["to"]}, {"required": ["from"]}, {"required": ["all"]}]}},
        {"anyOf": [{"required": ["to"]}, {"required": ["from"]}],
         "not": {"anyOf": [{"required": ["ids"]}, {"required": ["all"]}]}},
        {"required": ["all"], "not": {"anyOf": [{"required": ["to"]}, {"required": ["from"]}, {"required": ["ids"]}]}},
    ],
}  # fmt: skip
CHANGED: Final = a(
    {
        "recipients": {**_COUNT, "description": "to whose mail it was done"},
        "active": {
            **_COUNT,
            "description": "of whom were taken up for delivery: it is done when the try has ended, "
            "within a second if that has not begun",
        },
        "missing": {**many(QUEUE_ID), "description": "ids that are not in the queue"},
    }
)
_LINE: Final = like(patterns.LINE)
_ADDRESS: Final = like(patterns.ADDRESS, examples=["Ann <ann@example.org>"])
_SOME: Final = like(patterns.ADDRESSES, examples=["Ann <ann@example.org>, bob@example.org"])
_ADDRESSES: Final = {"anyOf": [_SOME, {**many(_SOME), "maxItems": MOST_RECIPIENTS}]}
_SOMEBODY: Final = {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]}
_ATTACHMENT: Final = a(
    {
        "filename": _LINE,
        "type": {
            **like(patterns.KIND, examples=["application/pdf"]),
            "not": {"pattern": patterns.one_of(patterns.COMPOUND, ended="/")},
        },
        "content": like(patterns.BASE64, contentEncoding="base64"),
    },
    optional=("filename", "type"),
    additionalProperties=False,
)
_FIELDS: Final = {
    "type": "object",
    "propertyNames": {**like(patterns.FIELD_NAME), "not": {"pattern": patterns.one_of(patterns.OWN_FIELDS)}},
    "additionalProperties": _LINE,
    "maxProperties": MOST_FIELDS,
    "description": "other fields of the header",
}
LETTER: Final = {
    **a(
        {
            "from": _ADDRESS,
            "to": _ADDRESSES,
            "cc": _ADDRESSES,
            "bcc": {**_ADDRESSES, "description": "recipients that no header names"},
            "reply_to": _ADDRESSES,
            "sender": like(patterns.REVERSE_PATH, description="the reverse-path, where it is not the address in from"),
            "subject": _LINE,
            "text": _TEXT,
            "html": _TEXT,
            "headers": _FIELDS,
            "attachments": {**many(_ATTACHMENT), "maxItems": MOST_ATTACHMENTS},
        },
        optional=("to", "cc", "bcc", "reply_to", "sender", "subject", "text", "html", "headers", "attachments"),
        additionalProperties=False,
    ),
    "description": "a message, and who gets it: somebody in to, cc or bcc, 1000 together",
    "anyOf": [{"properties": {name: _SOMEBODY}, "required": [name]} for name in ("to", "cc", "bcc")],
}
SUBMITTED: Final = a(
    {
        "id": QUEUE_ID,
        "refused": {**many(a({"address": _TEXT, "reply": _TEXT})), "description": "who does not get it, and why"},
    }
)
DESTINATION: Final = a(
    {
        "name": _TEXT,
        "deliveries": {**_COUNT, "description": "that wait, are taken up for delivery or are held"},
        "held": _COUNT,
        "active": _COUNT,
        "next_due": _MAYBE_TIME,
        "paused_until": _MAYBE_TIME,
        "failures": {**_COUNT, "description": "in a row"},
        "last_reply": _TEXT,
    }
)
DESTINATIONS: Final = a({"destinations": many(DESTINATION)})
WEBHOOKS: Final = a(
    {
        "webhooks": many(
            a(
                {
                    "url": {"type": "string", "description": "up to its host; what follows may be a secret"},
                    "events": {**many(_TEXT), "description": "that it is told of"},
                    "waiting": {**_COUNT, "description": "events that it has not been told yet"},
                    "oldest": _MAYBE_TIME,
                    "last_try": _MAYBE_TIME,
                    "failures": {**_COUNT, "description": "in a row"},
                    "last_error": {"type": "string", "description": "why the last try failed; empty where it did not"},
                    "next_try": _MAYBE_TIME,
                }
            )
        )
    }
)
ANYTHING: Final = {"type": "object", "description": "what the command of this name prints with --json"}
CONFIGURATION: Final = a({"file": _TEXT, "settings": {"type": "object"}})
PROBLEM: Final = a(
    {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT},
    optional=("detail",),
    description="what went wrong (RFC 9457)",
)


class Parameter(NamedTuple):
    """Something in a path or in a query."""

    name: str
    schema: Schema
    about: str
    is_needed: bool = False

    def described(self, where: str) -> dict[str, Any]:
        """As OpenAPI has it."""
        told = {"name": self.name, "in": where, "schema": self.schema, "description": self.about}
        return {**told, "required": True} if where == "path" or self.is_needed else told


def needed(name: str, about: str, schema: Schema = WORD_SCHEMA) -> Parameter:
    """Something that has to be there; a word unless told otherwise."""
    return Parameter(name, schema, about, is_needed=True)


ID: Final = Parameter("id", QUEUE_ID, "A queue id.")
VERB: Final = Parameter("verb", {"enum": list(VERBS)}, "What to do.")
TO: Final = Parameter("to", WORD_SCHEMA, "Only recipients of this domain, address or destination.")
SENDER: Final = Parameter("from", WORD_SCHEMA, 'Only mail from this address or domain; "<>" for notices.')
STATE: Final = Parameter("state", {"enum": list(STATES)}, "Only recipients in this state.")
LIMIT: Final = Parameter(
    "limit", {"type": "integer", "minimum": 0, "maximum": 10_000, "default": 100}, "How many to list; 0 for none."
)


class Operation(NamedTuple):
    """What the description says of a row. answer: a schema of JSON; None where `kind` is something else."""

    name: str
    about: str
    answer: Schema | None
    kind: str = "application/json"
    path: Sequence[Parameter] = ()
    query: Sequence[Parameter] = ()
    body: Schema | None = None
    bodies: Mapping[str, Schema] | None = None
    status: str = "200"
    links: Mapping[str, Any] | None = None

    def described(self) -> dict[str, Any]:
        """As OpenAPI has it."""
        problem = {"$ref": "#/components/responses/Problem"}
        told: dict[str, Any] = {
            "operationId": self.name,
            "summary": self.about.partition(". ")[0].rstrip("."),
            "description": self.about,
            "responses": {
                self.status: {
                    "description": "Done.",
                    "content": {self.kind: {"schema": self.answer} if self.answer is not None else {}},
                },
                "default": problem,
            },
        }
        if self.links:
            told["responses"][self.status]["links"] = self.links
        parameters = [one.described("path") for one in self.path] + [one.described("query") for one in self.query]
        if parameters:
            told["parameters"] = parameters
        bodies = self.bodies or ({"application/json": self.body} if self.body is not None else None)
        if bodies:
            told["requestBody"] = {
                "required": True,
                "content": {kind: {"schema": schema} for kind, schema in bodies.items()},
            }
        return told
