"""OpenAPI: the description of the API, made from the table that answers it."""

from collections.abc import Sequence
from typing import Any

from mta.web.exchange import PROBLEM as PROBLEM_KIND
from mta.web.exchange import Answer, Call, as_json
from mta.web.routes import Route
from mta.web.schemas import PROBLEM

VERSION = "1"


def describe(rows: Sequence[Route]) -> dict[str, Any]:
    """The document (OpenAPI 3.1)."""
    paths: dict[str, dict[str, Any]] = {}
    for one in rows:
        if one.about is not None:
            paths.setdefault(one.pattern, {})[one.method.lower()] = dict(one.about)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mta",
            "version": VERSION,
            "description": "Everything that the operator of this relay has, for programs. Times are UTC.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "Problem": {"description": "What went wrong.", "content": {PROBLEM_KIND: {"schema": PROBLEM}}}
            },
        },
    }


def route(rows: Sequence[Route]) -> Route:
    """/api/v1/openapi.json, for these rows."""
    document = describe(rows)

    async def openapi(call: Call) -> Answer:
        return as_json(document)

    return Route("GET", "/api/v1/openapi.json", openapi)
