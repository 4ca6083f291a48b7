"""The console over a real spool, asked in memory: what is put there is committed as reception commits it."""

import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1] / "spool"))

from spools import SqliteWorld, clock_at_start
from web_ground import TOKEN, Web

from mta.config.load import load
from mta.interfaces import Claim, Pause, Record, Waiting
from mta.message.timeline import Event
from mta.net.measures import Measures
from mta.net.threads import NoThreads
from mta.operating import words
from mta.operating.console import Console
from mta.operating.operator import Operator
from mta.web.console.errands import Errands
from mta.web.console.rates import Rates
from mta.web.console.seams import Advice
from mta.web.console.table import routes
from mta.web.console.watch import Watch
from mta.web.exchange import Answer

WORDS = {"moment": words.moment, "span": words.span, "size": words.size}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


class Ground:
    """advice: who can be asked."""

    def __init__(self, folder: Path, advice: Advice = Advice()) -> None:  # noqa: B008  it is a constant
        self.clock = clock_at_start()
        self.spools = SqliteWorld(self.clock, folder / "spool")
        (folder / "mta.yml").write_text(
            "hostname: mail.example.org\nspool: spool\nlogins: {up: {user: shop, password_file: secret}}\n"
        )
        (folder / "secret").write_text("pencil")
        self.config = load(folder / "mta.yml")
        self.warnings: list[str] = []
        operator = Operator(self.config, self.warnings.append)
        self.watch = Watch()
        self.measures = Measures()
        self.rates = Rates(lambda: self.measures.cells, self.clock.seconds)
        console = Console(self.config, lambda name: None, self.clock.seconds, rests=0.0)
        rows = routes(
            console,
            operator,
            advice,
            self.watch,
            self.rates,
            NoThreads(),
            Errands(NoThreads(), self.clock.seconds),
            self.clock,
            "mail.example.org",
            WORDS,
        )
        self.web = Web(folder, rows)
        self._cookie = {"cookie": self.web.log_in().headers["Set-Cookie"].partition(";")[0]}
        self.csrf = re.findall(r'name="csrf" value="([^"]+)"', self.page("/queue"))[0]

    def get(self, path: str) -> Answer:
        return self.web.ask("GET", path, {"accept": "text/html", **self._cookie})

    def page(self, path: str, status: int = 200) -> str:
        answer = self.get(path)
        assert isinstance(answer.body, bytes)
        assert answer.status == status, answer.body.decode()
        return answer.body.decode()

    def post(self, path: str, fields: Sequence[tuple[str, str]] = (), **named: str) -> Answer:
        brought = [("csrf", self.csrf), *fields, *named.items()]
        content: Any = io.BytesIO(urlencode(brought, errors="surrogatepass").encode())
        headers = {"accept": "text/html", **self._cookie, **URLENCODED}
        return self.web.ask("POST", path, headers, content=content)

    def record(self, claim: Claim, waiting: Waiting, *events: Event, pause: Pause | None = None) -> None:
        """What a try came to, with these events of the timeline."""
        spools = self.spools
        recorded = spools.spool.record(Record(claim, spools.now, (waiting,), events=events, pause=pause))
        spools.wait(spools.spool.next_deadline())
        assert spools.wait(recorded)

    def close(self) -> None:
        self.spools.close()


def text_of(page: str) -> str:
    """What a person reads of a page, more or less."""
    inside = re.sub(r"<head>.*?</head>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", inside))


__all__ = ["TOKEN", "Ground", "text_of"]
