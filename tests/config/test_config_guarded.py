"""Secrets in the configuration: they stand in files of their own; what may hold one all the same is shown nowhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mta.config.model import Config
from mta.config.problems import shown
from mta.config.rules import GUARDED
from mta.operating.settings import settings_to_json

SMELLS = re.compile("password|secret|token|url|credential|(^|_)key$")


def keys(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """All keys of the model, and of the models in it."""
    for name, field in model.model_fields.items():
        yield name, field
        for one in models_in(field.annotation):
            yield from keys(one)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from models_in(one)


def is_file(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return all(is_file(one) or one is type(None) for one in get_args(annotation))
    inner = get_args(annotation)
    return annotation is Path or (bool(inner) and is_file(inner[0]))


def test_what_sounds_like_a_secret_is_a_file_or_guarded() -> None:
    found = [(name, field) for name, field in keys(Config) if SMELLS.search(name)]
    assert {name for name, _ in found} >= {"password_file", "token_file", "secret_file", "key", "url"}
    for name, field in found:
        if name not in ("plaintext_auth",):
            assert is_file(field.annotation) or GUARDED in field.metadata, f"{name}: mark it, or have a file for it"


SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=20, max_size=60)


@given(
    SECRET, SECRET, st.sampled_from(["https://h.example/{}?key={}", "http://h.example:8080/a/{}?{}", "https://h/{}/{}"])
)
def test_what_is_guarded_is_not_shown(one: str, other: str, form: str) -> None:
    url = form.format(one, other)
    config = Config.model_validate({"spool": "/spool", "webhooks": [{"url": url}]})
    for told in (str(settings_to_json(config)), shown(url)):
        assert one not in told and other not in told
    assert "//h" in str(settings_to_json(config))
