"""Settings: the configuration as in force, for programs. Of secrets it has the names of their files, no more,
and of what may hold one (`GUARDED`) the part that does not."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mta.config.model import Config
from mta.config.rules import GUARDED
from mta.outbox import name_of


def settings_to_json(config: Config) -> dict[str, Any]:
    """Every key by the name that it has in the file, defaults included; durations in seconds, sizes in octets."""
    return {"file": config.sources.file, "settings": _plain(config)}


def _shown(value: Any, field: FieldInfo) -> Any:
    return name_of(str(value)) if GUARDED in field.metadata else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {field.alias or name: _shown(getattr(value, name), field) for name, field in fields.items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (IPv4Network, IPv6Network, Path)):
        return str(value)
    if isinstance(value, (list, frozenset)) or type(value) is tuple:
        return [_plain(one) for one in value]
    return str(value)
