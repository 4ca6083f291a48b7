"""Schema: the configuration's model as JSON schema, in the words that people write: 5m, not 300.0."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from mta.config import rules, units
from mta.config.model import Config

Kind = Mapping[str, Any]


def _text(title: str, **more: Any) -> Kind:
    return {"type": "string", "title": title, **more}


_DURATION: Final = _text("a duration", pattern=r"^[0-9]{1,9} ?[smhd]$")
DEFAULT: Final = "Default: "  # what stands behind it in the description of a key, where no value could say it
_ADDRESS: Final = "an address to listen on"

# What each validator of a value takes. One that is not here keeps the schema from being made.
KINDS: Final[Mapping[Any, Kind]] = {
    units.parse_duration: _DURATION,
    rules.positive_duration: _DURATION,
    rules.duration_or_never: _text("a duration, or never", pattern=r"^([0-9]{1,9} ?[smhd]|never)$"),
    units.parse_size: {"type": ["string", "integer"], "title": "a size", "minimum": 0},
    units.parse_network: _text("a network"),
    rules.relaying_network: _text("a network"),
    rules.proxy_network: _text("a network"),
    rules.file: _text("the path of a file"),
    rules.spool: _text("the path of a folder"),
    rules.listener_address: _text(_ADDRESS),
    rules.admin_address: _text(_ADDRESS),
    rules.nameserver: _text("HOST or HOST:PORT"),
    rules.workers: {
        "title": f"a number from 1 to {rules.MOST_WORKERS}, or auto",
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": rules.MOST_WORKERS}, {"const": "auto"}],
    },
    rules.via: _text("where to, or a refusal"),
    rules.accounts: {
        "title": "the path of a file, dovecot:PATH, or a list of both",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}],
    },
}


class Schema(GenerateJsonSchema):
    """Writes values as the loader reads them."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}

    def get_title_from_name(self, name: str) -> str:
        """None made from the name, which says nothing new."""
        return ""

    def function_plain_schema(self, schema: Any) -> JsonSchemaValue:
        """What a validator of ours takes."""
        function = schema["function"]["function"]
        kind = KINDS.get(function) or _text(function.__doc__)
        return dict(kind)

    def function_after_schema(self, schema: Any) -> JsonSchemaValue:
        """Say what is not there yet, in a keyword of ours."""
        inner = self.generate_inner(schema["schema"])
        function = schema["function"]["function"]
        return {**inner, "x-lacking": function.lacking} if isinstance(function, rules.Only) else inner

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """The default as it would be written."""
        inner = self.generate_inner(schema["schema"])
        if "default" not in schema:  # it is made from another value
            return inner
        return {**inner, "default": written(schema["default"], _plain(schema["schema"]))}


def _plain(schema: Any) -> Any:
    """The validator of ours that decides about a value, or about those in a list; None where there is none."""
    while schema["type"] != "function-plain":
        schema = schema.get("items_schema", schema.get("schema"))
        if isinstance(schema, list):
            schema = schema[0]
        if schema is None or schema["type"] == "model":
            return None
    return schema["function"]["function"]


def written(value: Any, validator: Any = None) -> Any:
    """A value of the model as it stands in a file. validator: the one that read it, where that makes a difference."""
    match value:
        case BaseModel():
            fields = type(value).model_fields
            names = [(name, field.alias or name) for name, field in fields.items() if name in value.model_fields_set]
            return {alias: written(getattr(value, name)) for name, alias in names}
        case None if validator is rules.duration_or_never:
            return "never"
        case None | bool():
            return value
        case units.SocketAddress() | Path():
            return str(value)
        case tuple() | list():
            return [written(one, validator) for one in value]
        case dict():
            return {name: written(one) for name, one in value.items()}
        case float():
            return units.format_duration(value)
        case int() if validator is units.parse_size:
            return units.format_size(value)
        case int():
            return value
        case _:
            return str(value)


def schema() -> dict[str, Any]:
    """The schema of the whole configuration."""
    made = Config.model_json_schema(schema_generator=Schema)
    for model in (made, *made["$defs"].values()):
        model["properties"] = {name: _property(one) for name, one in model["properties"].items()}
    # The model's own words are for who reads the program.
    top = {"title": "The configuration of mta", "description": "Every key but spool has a default."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, **top}


def _property(made: dict[str, Any]) -> dict[str, Any]:
    one = {name: value for name, value in made.items() if (name, value) != ("title", "")}
    if DEFAULT in one.get("description", ""):
        one.pop("default", None)  # it depends on the machine, or on other keys
    if one.get("type") in ("array", "object"):
        one["type"] = [one["type"], "null"]  # with nothing behind its key a block keeps its default
    elif "$ref" in one:
        one = {"anyOf": [{"$ref": one.pop("$ref")}, {"type": "null"}], **one}
    return one


def schema_text() -> str:
    """As it stands in etc/mta.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
