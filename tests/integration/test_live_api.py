"""The HTTP API of a running relay: what its description says is so, and what it does is done to the queue."""

import subprocess
from pathlib import Path

from peers.clients import submit
from peers.daemon import PROGRAMS
from peers.knot import Dns
from peers.sinks import MakeSink
from peers.web import TOKEN, StartAdmin

PATIENT = {"after": ["1h"], "warn": "never", "give_up": "5d"}
CONTENT = b"From: a@sender.test\r\nSubject: waiting\r\n\r\n.dots\r\nbody\r\n"


def test_the_queue_by_its_api(start_admin: StartAdmin, dns: Dns, sink: MakeSink, sender: str) -> None:
    hop = sink("mx.held.test")
    hop.script("RCPT", "450 4.2.1 come back later")
    dns.zone("held.test", f"@ MX 10 mx\nmx A {hop.address}")
    relay, admin = start_admin(retry=PATIENT)
    queue_id = submit(relay, sender, ["bob@held.test"], CONTENT)
    relay.wait_until_deferred(queue_id)
    for words in ([], ["--to", "held.test"], ["--state", "held"], ["--limit", "0"], ["--from", "x@y.test"]):
        query = "&".join(f"{name[2:]}={value}" for name, value in zip(words[::2], words[1::2], strict=True))
        assert admin.ask("GET", f"/api/v1/queue?{query}").json == relay.queue(*words)
    assert admin.ask("GET", f"/api/v1/messages/{queue_id}").json == relay.story_of(queue_id)
    content = admin.ask("GET", f"/api/v1/messages/{queue_id.lower()}/content")
    assert content.body.endswith(b"\r\n\r\n.dots\r\nbody\r\n")
    assert content.headers["content-type"] == "message/rfc822"
    assert content.headers["content-disposition"].startswith("attachment")
    [destination] = admin.ask("GET", "/api/v1/destinations").json["destinations"]
    assert destination == admin.ask("GET", "/api/v1/destination?name=held.test").json
    assert (destination["name"], destination["deliveries"], destination["held"]) == ("held.test", 1, 0)
    done = {"recipients": 1, "active": 0, "missing": []}
    assert admin.ask("POST", f"/api/v1/messages/{queue_id}/hold").json == done
    assert relay.queued(queue_id)["recipients"][0]["state"] == "held"  # type: ignore[index]
    assert admin.ask("POST", "/api/v1/queue/release", {"to": "held.test"}).json == done
    relay.wait_until_gone(queue_id)
    assert len(hop.messages_for("bob@held.test")) == 1
    gone = admin.ask("POST", f"/api/v1/messages/{queue_id}/drop")
    assert (gone.status, gone.headers["content-type"]) == (404, "application/problem+json")
    assert admin.ask("GET", f"/api/v1/messages/{queue_id}").json["ended"]
    assert admin.ask("GET", f"/api/v1/messages/{queue_id}/content").status == 404


def test_the_configuration_is_told_without_secrets(start_admin: StartAdmin, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sesame-open")
    logins = {"up": {"user": "shop", "password_file": str(tmp_path / "password")}}
    _, admin = start_admin(logins=logins)
    told = admin.ask("GET", "/api/v1/configuration")
    assert told.json["settings"]["logins"]["up"] == {
        "user": "shop", "password_file": str(tmp_path / "password"), "oauth2": None, "token_file": None,
    }  # fmt: skip
    assert b"sesame" not in told.body
    assert TOKEN.encode() not in told.body


def test_the_api_is_as_it_says_that_it_is(start_admin: StartAdmin, tmp_path: Path) -> None:
    relay, admin = start_admin()
    command = [
        PROGRAMS / "schemathesis", "run", f"http://{admin.where}/api/v1/openapi.json", "--no-color",
        "--header", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--seed", "1", "--max-examples", "5",
        "--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--generation-database", ":memory:",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert "could not be answered" not in relay.process.output
