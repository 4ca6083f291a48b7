"""A web application in memory: a clock, a token, an operator who remembers what was asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from mta.config.reading import read_token
from mta.net.measures import SIZE
from mta.net.threads import NoThreads
from mta.web import health, metrics
from mta.web.access import Token
from mta.web.application import Admission, Application
from mta.web.asking import Asking
from mta.web.exchange import Answer, Call
from mta.web.hosts import Hosts
from mta.web.routes import Route
from mta.web.seams import Doubt, Figures, Work

TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Running:
    """A relay that is as well as it is told to be."""

    def __init__(self) -> None:
        self.doubts: list[Doubt] = []

    def work(self) -> Work:
        return Work((0.0,) * SIZE, 0.0, 1, 1, 0.0)

    def ill(self) -> list[Doubt]:
        return self.doubts

    def unready(self) -> list[Doubt]:
        return self.doubts


class Operator:
    """One who has an empty queue."""

    def figures(self) -> Figures:
        return Figures(0, 0, 0, {"ready": 0}, {60.0: 0}, None, 0, 0)


class Web:
    """token: what stands in its file; None for none."""

    def __init__(self, folder: Path, rows: Sequence[Route] = (), token: str | None = TOKEN) -> None:
        self.clock = Clock()
        self.running = Running()
        self.warnings: list[str] = []
        self.file = folder / "token"
        if token is not None:
            self.file.write_text(token)
        shown = Token(None if token is None else self.file, read_token, self.warnings.append)
        self.admission = Admission(shown, self.clock.seconds, lambda seconds: deferLater(self.clock, seconds))
        hosts = Hosts(["mx.example.org", "192.0.2.7"])
        self.operator = Operator()
        self.asking = Asking(self.operator, NoThreads())
        opened = [*health.routes(self.running, self.asking), *metrics.routes(self.running, self.asking)]
        self.application = Application([*opened, *rows], self.admission, hosts)

    def begin(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Deferred[Answer]:
        path, _, query = path.partition("?")
        call = Call(method, path, query, {"host": "localhost", **(headers or {})}, client="127.0.0.1", **more)
        return Deferred.fromCoroutine(self.application.answer(call))

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        """An answer that has to be there at once."""
        answers: list[Answer] = []
        self.begin(method, path, headers, **more).addCallback(answers.append)
        [answer] = answers
        return answer

    def log_in(self, **fields: str) -> Answer:
        return self.ask("POST", "/login", content=form(token=TOKEN, **fields))


def form(**fields: str) -> Any:
    import io

    return io.BytesIO(urlencode(fields).encode())


def told(answer: Answer) -> Any:
    """JSON that was answered."""
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)
