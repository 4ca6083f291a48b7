"""Files: style, scripts, and what they stand on. They are asked for again, and answered with
304 while they are the same.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final

from mta.web.exchange import Answer, Call
from mta.web.routes import Route

STATIC: Final = Path(__file__).parents[1] / "static"
_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def routes() -> list[Route]:
    """A route for each file; nothing else can be asked for."""
    found = sorted(file for file in STATIC.rglob("*") if file.suffix in _KINDS)
    return [_route(file) for file in found]


def _route(file: Path) -> Route:
    octets = file.read_bytes()
    mark = f'"{sha256(octets).hexdigest()[:16]}"'
    headers = {"Cache-Control": "private, no-cache", "ETag": mark}  # asked for again, answered with 304

    async def answer(call: Call) -> Answer:
        if call.header("if-none-match") == mark:
            return Answer(304, _KINDS[file.suffix], b"", headers)
        return Answer(200, _KINDS[file.suffix], octets, headers)

    return Route("GET", f"/static/{file.relative_to(STATIC).as_posix()}", answer)
