"""A relay with its console, hops that do as they are told, and a browser that looks at it."""

import contextlib
import http.client
import re
import shutil
import smtplib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "integration"), str(ROOT / "tests")]

from dns_server import DnsServer  # noqa: E402
from peers.daemon import Relay  # noqa: E402
from peers.ground import free_port, wait_until  # noqa: E402
from peers.sinks import Sink, Sinks, thread_of_sinks  # noqa: E402

TOKEN = "a-token-for-the-tests-of-the-console"
AXE = ROOT / "tests" / "node" / "node_modules" / "axe-core" / "axe.min.js"
HOST = "127.0.0.1"
LATE = {"after": ["1h"], "warn": "never", "give_up": "5d"}


class World:
    """up: a hop that takes mail, for up.test. moody: one that is told what to say, for moody.test. Nobody answers for
    down.test."""

    def __init__(self, folder: Path, sinks: Sinks, **settings: Any) -> None:
        self.sinks = sinks
        self.up = sinks.listen(HOST, free_port(HOST), "mx.up.test")
        self.moody = sinks.listen(HOST, free_port(HOST), "mx.moody.test")
        self.admin = free_port(HOST)
        (folder / "token").write_text(TOKEN)
        (folder / "token").chmod(0o600)
        routes = [
            {"to": "up.test", "via": f"smtp://{HOST}:{self.up.port}"},
            {"to": "moody.test", "via": f"smtp://{HOST}:{self.moody.port}"},
            {"to": "example.org", "via": f"smtp://{HOST}:{self.up.port}"},
            {"to": "down.test", "via": f"smtp://{HOST}:{free_port(HOST)}"},
            {"to": "*", "via": f"smtp://{HOST}:{self.moody.port}"},
        ]
        chosen = {
            "hostname": "mail.example.org",
            "routes": routes,
            "retry": LATE,
            "admin": {"listen": f"{HOST}:{self.admin}", "token_file": "token"},
            **settings,
        }
        self.relay = Relay(folder, HOST, free_port(HOST), chosen)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.admin}"

    def send(self, to: str, sender: str = "alice@example.org", content: bytes = b"") -> str:
        """Send a mail; its queue id."""
        with smtplib.SMTP(HOST, self.relay.port, "client.example.org", 10) as client:
            client.ehlo()
            for code, said in (client.mail(sender), client.rcpt(to)):
                assert code == 250, said
            code, said = client.data(content or b"From: Alice <alice@example.org>\r\nSubject: Hello\r\n\r\nHello.\r\n")
        found = re.search(r"queued as (\w+)", said.decode())
        assert found is not None, said
        return found[1]

    def wait_for_page(self) -> None:
        wait_until(lambda: self.ask("GET", "/healthz")[0] == 200, "the console answers")

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, dict[str, str], str]:
        """Status, header fields in lower case, and text."""
        connection = http.client.HTTPConnection(HOST, self.admin, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body or None, {"Accept": "text/html", **named})
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, fields, answer.read().decode()
        finally:
            connection.close()

    def page(self, path: str) -> str:
        """A page, as who has shown the token gets it."""
        status, _, text = self.ask("GET", path, Authorization=f"Bearer {TOKEN}")
        assert status == 200, text
        return text


@contextlib.contextmanager
def world(folder: Path, **settings: Any) -> Iterator[World]:
    """A relay that runs. Its name server knows nothing, and says so at once."""
    with thread_of_sinks() as sinks, contextlib.ExitStack() as ends:
        names = DnsServer({})
        ends.callback(names.stop)
        there = World(folder, sinks, dns={"nameservers": [str(names)], "timeout": "2s"}, **settings)
        there.relay.start()
        ends.callback(there.relay.process.forget)
        ends.callback(lambda: there.relay.process.is_alive and there.relay.stop())
        there.wait_for_page()
        yield there


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Debian's browser, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        pytest.fail("chromium is not there: apt-get install chromium (tests/install-peers does that)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


class Sitting:
    """A browser in a thread of its own, as Playwright has an event loop that is to be nobody else's."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "browser")
        self._opened = chromium()
        self._browser = self._thread.submit(self._opened.__enter__).result()

    def __call__(self, work: Callable[[Any], None]) -> None:
        """Do something with the browser."""
        self._thread.submit(work, self._browser).result()

    def close(self) -> None:
        """End it."""
        self._thread.submit(self._opened.__exit__, None, None, None).result()
        self._thread.shutdown()


class Looking:
    """A page of a browser that remembers what should not have happened: errors, and requests to elsewhere."""

    sessions: ClassVar[dict[str, Any]] = {}  # cookies, by the address of the console

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.url = url
        self.wrong: list[str] = []
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", self._asked)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((f"{self.url}/", "data:")):
            self.wrong.append(f"asked elsewhere: {request.url}")

    def log_in(self, anew: bool = False) -> None:
        """Log in, or go on with the session that another page has begun."""
        if not anew and self.url in self.sessions:
            self.context.add_cookies(self.sessions[self.url])
            return
        self.page.goto(f"{self.url}/")
        self.page.get_by_label("Token").fill(TOKEN)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("heading", name="Overview").wait_for()
        self.wrong[:] = [one for one in self.wrong if "401" not in one]  # the page to log in with is one
        if not anew:
            self.sessions[self.url] = self.context.cookies()

    def open(self, path: str) -> Any:
        self.page.goto(f"{self.url}{path}")
        return self.page

    def violations(self, *rules: str) -> list[str]:
        """What axe finds that is serious or critical; by all of its rules, or by these."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(_axe())
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found = self.page.evaluate("options => axe.run(document, options)", options)
        return [
            f"{one['id']}: {one['help']}: {node['html'][:120]} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]


@cache
def _axe() -> str:
    """axe, to be run in a page beside what is its own, so that no policy of the page keeps it out."""
    if not AXE.exists():
        pytest.fail("axe-core is not there: cd tests/node && npm ci --ignore-scripts (tests/install-peers does that)")
    return AXE.read_text(encoding="utf-8")


def fill(there: World, mails: Sequence[tuple[str, str, bytes]]) -> list[str]:
    """Send mails, as (to, sender, content); their queue ids."""
    return [there.send(to, sender, content) for to, sender, content in mails]


def form(**fields: str) -> str:
    return urlencode(fields)


__all__ = ["AXE", "TOKEN", "Looking", "Sink", "Sitting", "World", "chromium", "fill", "form", "wait_until", "world"]
