"""Asking a relay's HTTP side, and a real Prometheus that does."""

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .daemon import Relay
from .ground import Process, free_port, tool, wait_until

TOKEN = "0123456789abcdef0123456789abcdef"


class Told(NamedTuple):
    """An answer. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Heard:
    """Server-sent events, one after the other."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer

    def next(self) -> Any:
        """The data of the next one; waits for it."""
        while not (line := self._answer.readline()).startswith(b"data: "):
            assert line, "there are no more events"
        return json.loads(line.removeprefix(b"data: "))


class Admin:
    """The admin address of a relay, with its token where not told otherwise."""

    def __init__(self, where: str, token: str | None = TOKEN) -> None:
        self.where = where
        self._token = token

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Told:
        """body: octets, or something to send as JSON."""
        given = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None and not isinstance(body, bytes):
            body, given["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection = http.client.HTTPConnection(self.where, timeout=20)
        try:
            connection.request(method, path, body, {**given, **(headers or {})})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Told(answer.status, named, answer.read())
        finally:
            connection.close()

    @contextmanager
    def listening(self, query: str = "") -> Iterator["Heard"]:
        """The events of the relay, from now on."""
        connection = http.client.HTTPConnection(self.where, timeout=20)
        try:
            connection.request("GET", f"/api/v1/events?{query}", headers={"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.readline() == b": here\n"
            yield Heard(answer)
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics, by name and labels."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}


class Prometheus:
    """One that scrapes an address every second."""

    def __init__(self, folder: Path, address: str, target: str) -> None:
        self.where = f"{address}:{free_port(address)}"
        file = folder / "prometheus.yml"
        job = {"job_name": "mta", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
        file.write_text(yaml.safe_dump({"scrape_configs": [job]}))
        command = [
            tool("prometheus", "prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={self.where}",
        ]
        self.process = Process("prometheus", command, folder)

    def value(self, query: str) -> float | None:
        """What it knows now; None for nothing yet."""
        try:
            told = Admin(self.where, None).ask("GET", f"/api/v1/query?query={query}").json
        except OSError:
            return None
        found = told.get("data", {}).get("result", [])
        return float(found[0]["value"][1]) if found else None

    def wait_for(self, query: str, value: float) -> None:
        """Wait until it knows that."""
        wait_until(lambda: self.value(query) == value, f"{query} is {value}", pause=0.1)


StartAdmin = Callable[..., tuple[Relay, Admin]]
"""What the fixture `start_admin` is: keyword arguments become keys of the configuration."""
