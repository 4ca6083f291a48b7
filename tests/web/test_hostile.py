"""What comes from outside, in every place where it is shown: one table of strings, one of places, through the real
relay, between clients and next hops that mean harm.

Pages come from the table of routes, commands from that of the program, the rest of the API from its description: one
more of them fails here until it is said how it is looked at.
"""

import base64
import contextlib
import email
import email.policy
import json
import os
import pty
import re
import select
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest
from console_world import HOST, LATE, TOKEN, DnsServer, Looking, Relay, Sitting, free_port, thread_of_sinks, wait_until
from cryptography.x509 import DNSName
from nasty_papers import Papers, encrypted_hop
from prometheus_client.parser import text_string_to_metric_families
from test_console_hostile import ELEMENTS, HIDDEN
from twisted.internet.task import Clock

from mta.cli.program import COMMANDS
from mta.net.threads import NoThreads
from mta.web.console.rates import Rates
from mta.web.console.seams import Advice
from mta.web.console.table import routes
from mta.web.console.watch import Watch

SCRIPT: Final = "<script>window.evil = 1; alert(1)</script>"
NASTY: Final = {
    "html": f"<img src=x onerror=alert(1)>{SCRIPT}<!--",
    "attribute": "\" autofocus onfocus=alert(1) x='",
    "script": f"</script>{SCRIPT}</title></textarea>",
    "ansi": "\x1b[5;95mred\x1b[2J\x1b[1;1H",
    "osc": "\x1b]0;owned\x07\x1b]8;;http://evil.test\x1b\\",
    "c1": "\x9b31m\x9d0;owned\x9c\x85",
    "controls": "a\x08\x08\x0b\x0c\x7fb\x0ec",
    "bidi": "\u202egnp.exe\u2066\u200f\u061c\ufeff\u2028",
    "nul": "a\x00b",
    "line": "\r2026-11-30T00:00:00.000Z - alarm why=forged\x85x",
    "utf8": "\udcff\udcfe\udcc3(",
    "sql": "'; DROP TABLE message; --",
    "csv": "=cmd|' /C calc'!A0",
    "label": 'x"} 1\\nmta_forged{a="\\',
    "template": "{{ 7*7 }}${7*7}#{7}%s%(a)s",
    "json": '","forged":"yes',
    "long": "W" * 1500,
}
SECRETS: Final = {
    "token": TOKEN,
    "password": "pass-word-of-an-upstream",
    "signature": "secret-that-webhooks-are-signed-with",
    "path": "T0kenInThePathOfAWebhook",
    "query": "key-in-the-query-of-a-webhook",
    "login": base64.b64encode(b"\0nobody\0password-of-a-client").decode(),
    "guess": "password-of-a-client",
}
# What can stand in an address of the envelope, quoted; what cannot be printed cannot.
ADDRESSES: Final = {
    kind: text.replace("\\", "\\\\").replace('"', '\\"')[:60] for kind, text in NASTY.items() if text.isprintable()
}
SENDERS: Final = ("html", "attribute", "sql")
"""There is a message from each."""
# The program's own: colours (never the one of "ansi"), bars that show how far it is, and what --watch does to a screen.
ESCAPES: Final = re.compile(r"\x1b\[(?!5;95m)[0-9;]*m|\x1b\[(?:2K|1A|\?25[lh])|\r")
SCREEN: Final = re.compile(r"\x1b\[(?:\?1049[hl]|[0-9;]*[HJKABCD])")
LINE: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z \S+ [a-z]+( |$)")
QUIET: Final = {"start", "restart", "completion", "sink", "account", "sendmail", "cat"}
"""Commands that show nothing of what came from outside, or, `cat` and `sink`, what did as it is: that is their use."""


class Hook(BaseHTTPRequestHandler):
    """Remembers what is posted."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Place(NamedTuple):
    """All of it. said: what the relay has said to clients. bounces: what arrived at senders."""

    relay: Relay
    url: str
    ids: list[str]
    said: list[str]
    posted: list[bytes]
    bounces: list[bytes]
    told: list[bytes]

    def get(self, path: str) -> tuple[str, str]:
        """The kind of an answer, and its text."""
        import urllib.error
        import urllib.request

        asked = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            answer = urllib.request.urlopen(asked, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.headers["Content-Type"], answer.read().decode()


@contextlib.contextmanager
def _place(folder: Path, **log: str) -> Iterator[Place]:
    with contextlib.ExitStack() as ends:
        sinks = ends.enter_context(thread_of_sinks())
        hops = {
            name: sinks.listen(HOST, free_port(HOST), f"mx.{name}.test") for name in ("up", "moody", "harsh", "rude")
        }
        for hop in hops.values():
            hop.extensions += ("SMTPUTF8",)
        up = hops["up"]
        for name, code in (("moody", "450 4.2.1"), ("harsh", "550 5.1.1")):
            hops[name].script("RCPT", *[f"{code} {_reply(text)}" for text in NASTY.values()] * len(SENDERS))
        hops["rude"].always("GREETING", "421 4.3.2 " + _reply(NASTY["ansi"] + NASTY["html"] + NASTY["bidi"]))
        names = DnsServer({})
        ends.callback(names.stop)
        hook = type("Posted", (Hook,), {"bodies": []})
        server = ThreadingHTTPServer((HOST, 0), hook)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        ends.callback(server.server_close)
        ends.callback(server.shutdown)
        manager = ends.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.bind(str(folder / "notify"))
        manager.setblocking(False)
        papers = Papers(folder)
        own = str(papers.issue("relay.pem", "relay.test"))
        evil = papers.issue("hop.pem", NASTY["ansi"], *(DNSName(f"{text}.test") for text in ADDRESSES.values()))
        encrypted = ends.enter_context(encrypted_hop(evil))
        admin, port = free_port(HOST), free_port(HOST)
        for name in ("token", "password", "signature"):
            (folder / name).write_text(SECRETS[name])
            (folder / name).chmod(0o600)
        (folder / "accounts.yml").write_text("{}\n")
        settings = {
            "hostname": "mail.example.org",
            "listen": [
                {
                    "address": f"{HOST}:{port}",
                    "auth": "offered",
                    "plaintext_auth": ["127.0.0.0/8"],
                    "client_ca": str(papers.authority),
                }
            ],
            "tls": {"certificate": own, "key": own},
            "accounts": "accounts.yml",
            "routes": [
                {"to": "tls.test", "via": f"smtps://{HOST}:{encrypted}", "tls": "verify"},
                *({"to": f"{name}.test", "via": f"smtp://{HOST}:{hop.port}"} for name, hop in hops.items()),
            ],
            "retry": {**LATE, "give_up": "3h"},
            "dns": {"nameservers": [str(names)], "timeout": "1s"},
            "admin": {"listen": f"{HOST}:{admin}", "token_file": "token"},
            "webhooks": [
                {
                    "url": f"http://{HOST}:{port_of_hook}/{SECRETS['path']}?key={SECRETS['query']}",
                    "events": ["deferred", "bounced"],
                    "secret_file": "signature",
                }
                for port_of_hook in (server.server_port, free_port(HOST))  # nobody listens there
            ],
            "logins": {"up": {"user": "shop", "password_file": "password"}},
            "log": log,
        }
        relay = Relay(
            folder,
            HOST,
            port,
            settings,
            before=[
                "env",
                f"NOTIFY_SOCKET={folder / 'notify'}",
                f"SSL_CERT_FILE={papers.authority}",
            ],
        )
        relay.start()
        ends.callback(relay.process.forget)
        ends.callback(lambda: relay.process.is_alive and relay.stop())
        drop = folder / "spool" / "drop"
        wait_until(drop.is_dir, "the drop folder is there")
        for number, text in enumerate(NASTY.values()):
            name = re.sub(r"[/\0]", "_", text)[:80]
            (drop / os.fsdecode(os.fsencode(name) + str(number).encode())).write_bytes(os.fsencode(text))
        said, ids = _send(port)
        said += [_show(port, papers, kind) for kind in ("ansi", "html", "bidi", "c1", "sql")]
        place = Place(relay, f"http://{HOST}:{admin}", ids, said, hook.bodies, [], [])
        wait_until(lambda: len(up.taken) >= len(ids), "all bounces have arrived")
        wait_until(lambda: len(hops["moody"].refused) >= len(NASTY), "all has been tried")
        wait_until(lambda: "the certificate is for" in relay.output, "the names of a certificate are told")
        wait_until(lambda: b'"deferred"' in b"".join(hook.bodies), "webhooks are told")
        wait_until(
            lambda: " webhook " in relay.output or '"webhook"' in relay.output, "one that cannot be told is named"
        )
        place.bounces.extend(one.content for one in up.taken)
        with contextlib.suppress(BlockingIOError):
            while True:
                place.told.append(manager.recv(4096))
        yield place


def _reply(text: str) -> str:
    """A reply's text has no line end: one would be the next reply."""
    return re.sub(r"[\r\n]", " ", text)[:900]


class Client:
    """One that keeps to the language as far as it likes. said: what the relay has said."""

    def __init__(self, port: int, said: list[str]) -> None:
        self._said = said
        self._socket = socket.create_connection((HOST, port), timeout=20)
        self._replies = self._socket.makefile("rb")
        self._hear()

    def say(self, line: bytes) -> str:
        """The reply to a line."""
        self._socket.sendall(line + b"\r\n")
        return self._hear()

    def _hear(self) -> str:
        lines = [self._replies.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self._replies.readline())
        self._said.append(b"".join(lines).decode())
        return self._said[-1]

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._replies.close()
        self._socket.close()


def _octets(kind: str) -> bytes:
    return NASTY[kind].encode("utf-8", "surrogateescape")


def _line(octets: bytes) -> bytes:
    return re.sub(rb"[\r\n]", b"", octets)[:900]


def _send(port: int) -> tuple[list[str], list[str]]:
    """What the relay said, and the queue ids: each string wherever it can be put, in commands that are refused and in
    messages that are not."""
    said: list[str] = []
    for kind in NASTY:
        octets = _octets(kind)
        login = base64.b64encode(b"\0" + octets + b"\0wrong")
        with Client(port, said) as client:
            for wrong in (b"EHLO " + octets, b"VRFY " + octets, b"MAIL FROM:<" + octets + b">", octets[:400]):
                client.say(_line(wrong))
            client.say(b"EHLO client.test")
            client.say(b"AUTH PLAIN " + login)
            client.say(b"AUTH PLAIN " + SECRETS["login"].encode())
    return said, [_mail(port, kind, said) for kind in SENDERS]


def _mail(port: int, kind: str, said: list[str]) -> str:
    """A message from an address of this kind to addresses of all kinds, with all of them in its header; its id."""
    with Client(port, said) as client:
        client.say(b"EHLO client.test")
        paths = [f'"{ADDRESSES.get(one, one)}"@{domain}.test' for domain in ("moody", "harsh") for one in NASTY]
        if kind == SENDERS[0]:
            paths += ["a@rude.test", "a@tls.test"]
        for command in (
            f'MAIL FROM:<"{ADDRESSES[kind]}"@up.test> SMTPUTF8 BODY=8BITMIME',
            *(f"RCPT TO:<{path}>" for path in paths),
        ):
            assert client.say(command.encode()).startswith("250"), command
        client.say(b"DATA")
        head = [b"From: " + _line(_octets(kind)), b"Subject: " + _line(_octets(kind))]
        for one in NASTY:
            octets = _octets(one)
            name = re.sub(rb"[^!-9;-~]", b"", octets)[:60] or b"X"
            head += [name + b": " + _line(octets), b"X-Folded: a", b" " + _line(octets)]
        done = client.say(b"\r\n".join([*head, b"", _line(octets), b"."]))
        assert done.startswith("250"), done
        return done.split()[-1]


def _show(port: int, papers: Papers, kind: str) -> str:
    """What the relay says to a client whose certificate has such a name."""
    text = NASTY[kind]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # less strict than what Python 3.13 makes by default
    context.load_verify_locations(papers.authority)
    context.check_hostname = False
    context.load_cert_chain(papers.issue(f"client-{kind}.pem", text))
    with smtplib.SMTP(HOST, port, "client.test", 20) as client:
        client.starttls(context=context)
        client.ehlo()
        client.docmd("AUTH", f"EXTERNAL {base64.b64encode(text.encode()).decode()}")
        code, said = client.docmd("AUTH", "EXTERNAL =")
        assert code // 100 == 5, said
        return f"{code} {said.decode()}\r\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with _place(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest.fixture(scope="module")
def sitting() -> Iterator[Sitting]:
    made = Sitting()
    yield made
    made.close()


def hidden(text: str) -> list[str]:
    """What would do something else than be seen (line ends may), and secrets."""
    return HIDDEN.findall(text.replace("\r\n", "\n")) + secrets(text)


def secrets(text: str) -> list[str]:
    """The secrets that stand in a text. Only who is to be told of events is asked for by a path that is one."""
    return [one for one in SECRETS.values() if one in text]


ASKED = "&".join(f"{{}}={quote(text, safe='', errors='surrogateescape')}" for text in ("\u202e" + SCRIPT + "\x1b[2J",))
PAGES: Final[dict[str, Callable[[Place], list[str]]]] = {
    "/": lambda place: ["/"],
    "/queue": lambda place: ["/queue", f"/queue?{ASKED.format('from')}", f"/queue?{ASKED.format('to')}"],
    "/message": lambda place: [f"/message?{ASKED.format('id')}"],
    "/message/{id}": lambda place: [f"/message/{one}" for one in place.ids] + ["/message/%3Cscript%3E"],
    "/destination": lambda place: [
        f"/destination?name=smtp:{_destination(place)}",
        f"/destination?{ASKED.format('name')}",
    ],
    "/explain": lambda place: [
        f"/explain?address={quote(_address('html'))}&from={quote(_address('sql'))}",
        f"/explain?{ASKED.format('address')}",
        f"/explain?address=a@up.test&{ASKED.format('client')}",
    ],
    "/doctor": lambda place: [f"/doctor?{ASKED.format('domain')}"],
    "/audit": lambda place: ["/audit", f"/audit?{ASKED.format('since')}"],
    "/log": lambda place: ["/log", f"/log?{ASKED.format('q')}"],
    "/configuration": lambda place: ["/configuration"],
}


def _address(kind: str) -> str:
    return f'"{ADDRESSES[kind]}"@moody.test'


def _destination(place: Place) -> str:
    return json.loads(place.get("/api/v1/destinations")[1])["destinations"][0]["name"].removeprefix("smtp:")


def test_every_page_is_among_the_places() -> None:
    nobody = Advice(*[lambda *_: {}] * 3)
    words = {"moment": str, "span": str, "size": str}
    table = routes(None, None, nobody, Watch(), Rates(list, float), NoThreads(), NoThreads(), Clock(), "h", words)
    pages = {one.pattern for one in table if one.method == "GET" and not one.pattern.startswith("/static/")}
    assert pages - {"/events"} == PAGES.keys(), "say in PAGES how it is looked at"


LOOK: Final = """() => {
  const every = [...document.querySelectorAll('*')];
  const texts = every.flatMap(one => [...one.attributes].map(at => at.value))
    .concat(document.documentElement.textContent);
  return {
    tags: [...new Set(every.map(one => one.localName))],
    scripts: [...document.scripts].filter(one => !one.src.startsWith(location.origin + '/static/')).length,
    handlers: every.filter(one => [...one.attributes].some(at => at.name.startsWith('on'))).length,
    style: every.filter(one => one.hasAttribute('style') && !one.closest('#chart')).length,
    elsewhere: every.map(one => one.href?.baseVal ?? one.href).filter(to => to && !to.startsWith(location.origin))
      .length,
    text: texts.join('\\n'), evil: 'evil' in window, focus: document.activeElement !== document.body,
  };
}"""


def test_pages_in_a_browser(place: Place, sitting: Sitting) -> None:
    def look_at_all(browser: Any) -> None:
        look = Looking(browser, place.url)
        look.page.on("dialog", lambda dialog: look.wrong.append(f"dialog: {dialog.message}"))
        look.log_in()
        seen = ""
        for path in [path for paths in PAGES.values() for path in paths(place)]:
            found = look.open(path).evaluate(LOOK)
            # uPlot draws the chart of the overview; the page of what is not there has its style with it
            assert set(found["tags"]) <= ELEMENTS | {"canvas", "style"}, path
            assert [found[name] for name in ("scripts", "handlers", "style", "elsewhere")] == [0] * 4, path
            assert hidden(found["text"].replace("\t", "")) == [], path
            assert not secrets(look.page.content()), path
            assert not found["evil"] and not found["focus"], path
            seen += found["text"]
            if path == "/":
                assert look.violations() == [], "with webhooks, and with all of this on it"
        assert [one for one in look.wrong if not re.search("status of (404|422)", one)] == []
        for text in (
            SCRIPT,
            "\\x1b[5;95mred",
            "\\x9b31m",
            "\\x202egnp.exe",
            "DROP TABLE",
            "{{ 7*7 }}",
            "\\xff",
            "certificate is for",
        ):
            assert text in seen, f"{text} is shown"

    sitting(look_at_all)


API: Final[dict[str, Callable[[Place], list[str]]]] = {
    "queue": lambda place: ["/queue"],
    "message": lambda place: [f"/messages/{one}" for one in place.ids],
    "destinations": lambda place: ["/destinations"],
    "destination": lambda place: [f"/destination?{ASKED.format('name')}"],
    "webhooks": lambda place: ["/webhooks"],
    "configuration": lambda place: ["/configuration"],
    "explain": lambda place: [f"/explain?address={quote(_address('html'))}", f"/explain?{ASKED.format('client')}"],
    "doctor": lambda place: [f"/doctor?{ASKED.format('domain')}"],
    "forecast": lambda place: [f"/forecast?id={place.ids[0]}", f"/forecast?{ASKED.format('id')}"],
    "audit": lambda place: ["/audit", f"/audit?{ASKED.format('since')}"],
    "content": lambda place: [],  # as it is, as a file to be saved
    "events": lambda place: [f"/events?{ASKED.format('kinds')}"],  # and below
}


def test_answers_of_the_api(place: Place) -> None:
    described = json.loads(place.get("/api/v1/openapi.json")[1])["paths"]
    asked = {one["get"]["operationId"] for one in described.values() if "get" in one}
    assert asked == API.keys(), "say in API how it is looked at"
    for path in [path for paths in API.values() for path in paths(place)]:
        kind, text = place.get(f"/api/v1{path}")
        assert kind in ("application/json", "application/problem+json"), path
        assert "\n" not in text and not re.search(r"[\x00-\x1f\x7f]", text), path
        assert "forged" not in json.loads(text) and not secrets(text), path
    kind, text = place.get(f"/api/v1/messages/{place.ids[0]}")
    assert json.loads(text)["sender"] == f'"{NASTY["html"][:60]}"@up.test', "it is what it was"


@pytest.mark.parametrize("path", ["/api/v1/events?limit=5", "/events?log=yes"])
def test_events(place: Place, path: str) -> None:
    stream: list[bytes] = []
    with socket.create_connection((HOST, int(place.url.rpartition(":")[2])), timeout=5) as listener:
        listener.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        stream.append(listener.recv(4096))
        with socket.create_connection((HOST, place.relay.port)) as client:
            for text in NASTY.values():
                login = base64.b64encode(b"\0" + text.encode("utf-8", "surrogateescape") + b"\0wrong")
                client.sendall(b"EHLO x\r\nAUTH PLAIN " + login + b"\r\n")
            end = time.monotonic() + 10
            while time.monotonic() < end and b"".join(stream).count(b"\ndata: ") < 5:
                if select.select([listener], [], [], 0.1)[0]:
                    stream.append(listener.recv(65536))
    text = b"".join(stream).partition(b"\r\n\r\n")[2].decode()
    lines = [line for line in re.split(r"\r\n[0-9a-f]+\r\n|^[0-9a-f]+\r\n|\n", text) if line.strip()]
    assert hidden(text) == []
    assert sum(line.startswith("data: ") for line in lines) >= 5
    for line in lines:
        assert re.match(r"(data: |event: [a-z]+$|id: \d+$|retry: \d+$|: here$|0$)", line), line
        if line.startswith("data: {"):
            assert "forged" not in json.loads(line[6:])


COMMAND_LINES: Final[dict[str, Callable[[Place], list[list[str]]]]] = {
    "check": lambda place: [["check"]],
    "doctor": lambda place: [["doctor", NASTY["osc"]]],
    "queue": lambda place: [["queue"], ["queue", "--to", NASTY["ansi"]]],
    "show": lambda place: [["show", one] for one in place.ids] + [["show", NASTY["ansi"]]],
    "explain": lambda place: [["explain", _address("html")], ["explain", NASTY["osc"]], ["explain", _address("sql")]],
    "retry": lambda place: [["retry", NASTY["osc"]], ["retry", "--to", NASTY["ansi"]]],
    "hold": lambda place: [["hold", NASTY["bidi"]]],
    "release": lambda place: [["release", NASTY["c1"]]],
    "bounce": lambda place: [["bounce", "--yes", NASTY["osc"]]],
    "drop": lambda place: [["drop", "--yes", "--to", NASTY["ansi"]]],
    "forecast": lambda place: [["forecast"], ["forecast", place.ids[0]]],
    "audit": lambda place: [["audit"]],
}
LISTS: Final = {"queue", "show", "explain", "doctor", "forecast", "audit"}
"""Commands that have --json."""
RUN: Final = """
import contextlib, io, json, sys
from mta.cli.program import program
kept = []
for words in json.loads(sys.argv[2]):
    out, err = (io.StringIO(), io.StringIO()) if sys.argv[1] == "keep" else (sys.stdout, sys.stderr)
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        program(words, prog_name="mta")
    kept.append((out.getvalue(), err.getvalue()) if sys.argv[1] == "keep" else "")
if sys.argv[1] == "keep":
    print(json.dumps(kept))
"""
"""Runs commands in one process, which is faster than one for each."""


def test_every_command_is_among_the_places() -> None:
    assert COMMANDS.keys() == COMMAND_LINES.keys() | QUIET, "say in COMMAND_LINES how it is looked at"


def _lines(place: Place, *more: str, only: set[str] | None = None) -> list[list[str]]:
    lines = [line for name, lines in COMMAND_LINES.items() if only is None or name in only for line in lines(place)]
    configured = ["--config", str(place.relay.configuration)]
    return [[*line, *more, *(["--old", configured[1]] if line[0] == "forecast" else configured)] for line in lines]


def test_commands_for_programs(place: Place) -> None:
    lines = _lines(place, "--json", only=LISTS)
    done = subprocess.run(
        [sys.executable, "-c", RUN, "keep", json.dumps(lines)], capture_output=True, text=True, check=True, timeout=60
    )
    for line, (out, err) in zip(lines, json.loads(done.stdout), strict=True):
        assert hidden(err) == [], line
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out), line
        assert not out or "forged" not in json.loads(out), line
        assert not secrets(out), line
        assert out or err, line


def _on_terminal(command: list[str], until: bytes | None = None) -> str:
    """What a command writes to a terminal; it is interrupted when it has written what is waited for."""
    number, terminal = pty.fork()
    if number == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(command[0], command)
    written, end = b"", time.monotonic() + 60
    with contextlib.suppress(OSError):
        while time.monotonic() < end and select.select([terminal], [], [], 10)[0]:
            written += os.read(terminal, 65536)
            if until is not None and until in written:
                os.kill(number, signal.SIGINT)
                until = None
    os.close(terminal)
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGTERM)
    os.waitpid(number, 0)
    return written.decode("utf-8")


def test_commands_on_a_terminal(place: Place) -> None:
    text = _on_terminal([sys.executable, "-c", RUN, "show", json.dumps(_lines(place))])
    assert hidden(ESCAPES.sub("", text)) == []
    for shown in ("\\x1b[5;95mred", "\\x9b31m", "DROP TABLE"):
        assert shown in text
    watched = _on_terminal(
        [
            sys.executable,
            "-c",
            RUN,
            "show",
            json.dumps([["queue", "--watch", "--config", str(place.relay.configuration)]]),
        ],
        until=place.ids[0].encode(),
    )
    assert place.ids[0] in watched
    assert hidden(SCREEN.sub("", ESCAPES.sub("", watched))) == []


def test_replies_to_clients(place: Place) -> None:
    for said in place.said:
        assert hidden(said) == [], said
        assert all(re.match(r"\d{3}[ -]", line) for line in said.splitlines()), said


def test_the_log_as_text(place: Place) -> None:
    output = place.relay.output
    assert hidden(output) == []
    for line in output.splitlines():
        assert LINE.match(line), line
    assert " alarm why=forged" not in "".join(line[25:40] for line in output.splitlines())


def test_metrics(place: Place) -> None:
    kind, text = place.get("/metrics")
    names = {one.name for one in text_string_to_metric_families(text)}
    assert kind.startswith("text/plain") and "mta_accepted_messages" in names and "mta_forged" not in text
    assert hidden(text) == []
    for _, answer in (place.get("/healthz"), place.get("/readyz")):
        assert hidden(answer) == [] and json.loads(answer)["reasons"] == []


def test_webhooks(place: Place) -> None:
    for body in place.posted:
        text = body.decode()
        assert not secrets(text) and not re.search(r"[\x00-\x1f\x7f]", text)
        assert all("forged" not in event for event in json.loads(text)["events"])


def test_bounces(place: Place) -> None:
    assert len(place.bounces) == len(SENDERS)
    for octets in place.bounces:
        message = email.message_from_bytes(octets, policy=email.policy.default)
        assert message.get_content_type() == "multipart/report"
        report, status, _ = message.iter_parts()
        assert hidden(report.get_content().replace("\t", "")) == []
        for part in status.iter_parts():
            assert all(hidden(str(value)) == [] for value in part.values())
        head = octets.partition(b"\r\n\r\n")[0].decode()
        assert hidden(head.replace("\t", "")) == []
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", octets)


def test_webhooks_that_take_nothing_are_seen(place: Place) -> None:
    """In the API and on the overview: what they have not taken, why, and when that is tried again."""
    hooks = sorted(json.loads(place.get("/api/v1/webhooks")[1])["webhooks"], key=lambda one: one["failures"])
    assert [one["failures"] for one in hooks] == [0, 1]
    assert (hooks[0]["last_error"], hooks[0]["next_try"], hooks[0]["waiting"]) == ("", None, 0)
    assert hooks[0]["last_try"] and hooks[1]["last_try"] < hooks[1]["next_try"]
    assert "refused" in hooks[1]["last_error"] and hooks[1]["waiting"] >= len(NASTY)
    page = place.get("/")[1]
    assert all(one["url"] in page for one in hooks) and hooks[1]["last_error"] in page


def test_a_mistake_in_the_configuration_tells_no_secret(place: Place, tmp_path: Path) -> None:
    url = f"ftp://{HOST}/{SECRETS['path']}?key={SECRETS['query']}"
    wrong = {**place.relay.settings, "webhooks": [{"url": url}, {"url": f"http://{HOST}:x/{SECRETS['path']}"}]}
    (tmp_path / "mta.yml").write_text(json.dumps(wrong))
    command = [sys.executable, "-c", RUN, "show", json.dumps([["check", "--config", str(tmp_path / "mta.yml")]])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert "webhooks[0].url" in done.stderr + done.stdout
    assert not secrets(done.stderr + done.stdout)


def test_what_systemd_is_told(place: Place) -> None:
    assert any(one.startswith(b"READY=1") for one in place.told)
    for one in place.told:
        assert all(re.fullmatch(r"[A-Z_]+=[ -~]*", line) for line in one.decode().splitlines())


def test_the_log_as_json_with_addresses_hashed(tmp_path: Path) -> None:
    with _place(tmp_path, format="json", addresses="hashed") as place:
        lines = [line for line in place.relay.output.splitlines() if " - info " not in line]  # of twistd, as it begins
    assert len(lines) > 5 * len(NASTY)
    for line in lines:
        assert not re.search(r"[\x00-\x1f\x7f]", line) and not secrets(line)
        event = json.loads(line)
        assert isinstance(event["event"], str) and event.get("why") != "forged"
    whole = "\n".join(lines)
    for kind in ("sql", "csv", "template"):
        assert f'{ADDRESSES[kind]}"@' not in whole.replace('\\"', '"'), "addresses are hashed"
