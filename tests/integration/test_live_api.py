"""The HTTP API of a running relay: what its description says is so, and what it does is done to the queue."""

import email
import email.policy
import json
import os
import subprocess
from pathlib import Path

import pytest
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
    nobody = {"url": "http://127.0.0.1:1/", "events": ["deferred", "bounced"]}
    relay, admin = start_admin(retry=PATIENT, webhooks=[nobody])
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
    [webhook] = admin.ask("GET", "/api/v1/webhooks").json["webhooks"]
    assert (webhook["url"], webhook["events"], webhook["waiting"]) == (nobody["url"], ["bounced", "deferred"], 1)
    assert webhook["oldest"] == next(
        one["time"] for one in relay.story_of(queue_id)["events"] if one["event"] == "deferred"
    )
    done = {"recipients": 1, "active": 0, "missing": []}
    assert admin.ask("POST", f"/api/v1/messages/{queue_id}/hold").json == done
    assert relay.queued(queue_id)["recipients"][0]["state"] == "held"  # type: ignore[index]
    for path, *words in (
        ("audit?since=1h", "audit", "--since", "1h"),
        ("forecast", "forecast"),
        (f"forecast?id={queue_id}", "forecast", queue_id),
        ("explain?address=bob@held.test&from=a@b.test", "explain", "bob@held.test", "--from", "a@b.test"),
    ):
        told = relay.mta(*words, "--json").stdout
        assert admin.ask("GET", f"/api/v1/{path}").json.keys() == json.loads(told).keys(), path
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


# All checks, all operations. The one that has no end is given one; what has been submitted need not stay in the queue,
# with its content, until it is asked for. What is too long is refused with 413, 414 or 431, which it does not know.
SCHEMATHESIS = """
hooks = "peers.schemathesis_hooks"
[checks]
negative_data_rejection.expected-statuses = [
  400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 428, 429, 431, "5xx",
]
[[operations]]
include-operation-id = "events"
parameters = { "query.for" = "0s" }
[[operations]]
include-operation-id = "content"
checks.ensure_resource_availability.enabled = false
"""


def run_schemathesis(folder: Path, where: str, *options: str, timeout: float) -> None:
    """Run it, with all of its checks, against what the API says of itself."""
    (folder / "schemathesis.toml").write_text(SCHEMATHESIS)
    command = [
        PROGRAMS / "schemathesis", "run", f"http://{where}/api/v1/openapi.json", "--no-color", "--seed", "1",
        "--header", f"Authorization: Bearer {TOKEN}", "--header", "Connection: close", "--suppress-health-check", "all",
        "--generation-database", ":memory:", *options,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False, env=environment
    )
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr


def test_the_api_is_as_it_says_that_it_is(start_admin: StartAdmin, tmp_path: Path) -> None:
    relay, admin = start_admin(routes=[{"to": "*", "via": "discard"}])
    run_schemathesis(tmp_path, admin.where, "--phases", "coverage,fuzzing", "--max-examples", "3", timeout=120)
    assert "could not be answered" not in relay.process.output


@pytest.mark.soak
def test_the_api_is_as_it_says_that_it_is_by_many_examples(start_admin: StartAdmin, tmp_path: Path) -> None:
    relay, admin = start_admin(routes=[{"to": "*", "via": "discard"}])
    phases = "examples,coverage,fuzzing"
    run_schemathesis(tmp_path, admin.where, "--phases", phases, "--max-examples", "40", timeout=1800)
    assert "could not be answered" not in relay.process.output


@pytest.mark.soak
def test_the_api_is_as_it_says_that_it_is_call_after_call(start_admin: StartAdmin, tmp_path: Path) -> None:
    """What is submitted waits, so that it is there to be asked for."""
    relay, admin = start_admin(retry=PATIENT)
    run_schemathesis(tmp_path, admin.where, "--phases", "stateful", "--max-examples", "40", timeout=1800)
    assert "could not be answered" not in relay.process.output


LETTER = {
    "from": "Ann Ünder <ann@sender.test>",
    "to": ["Bob <bob@taken.test>", "carol@taken.test"],
    "bcc": "dave@refused.test",
    "subject": "Grüße",
    "text": "first line\n.dot\n",
    "html": "<p>first line</p>",
    "headers": {"X-Ticket": "17"},
    "attachments": [{"filename": "a.bin", "type": "application/x-thing", "content": "AAEC"}],
}


@pytest.mark.parametrize("workers", [1, 2])
def test_messages_are_submitted_and_events_are_heard(
    workers: int, start_admin: StartAdmin, dns: Dns, sink: MakeSink
) -> None:
    hop = sink("mx.taken.test")
    dns.zone("taken.test", f"@ MX 10 mx\nmx A {hop.address}")
    # Nobody else may send through it: what is posted needs no such right.
    relay, admin = start_admin(
        workers=workers,
        relay={"networks": ["192.0.2.0/24"]},
        routes=[{"to": "refused.test", "via": "550 5.1.1 no such user"}],
    )
    with admin.listening("kinds=delivered,received") as events:
        done = admin.ask("POST", "/api/v1/messages", LETTER)
        assert done.status == 201, done.body
        queue_id = done.json["id"]
        assert done.headers["location"] == f"/api/v1/messages/{queue_id}"
        assert [one["address"] for one in done.json["refused"]] == ["dave@refused.test"]
        assert "5.1.1" in done.json["refused"][0]["reply"]
        [taken] = hop.wait_for("bob@taken.test")
        heard = [events.next() for _ in range(2)]
        assert [(one["event"], one["id"]) for one in heard] == [("received", queue_id), ("delivered", queue_id)]
    message = email.message_from_bytes(taken.content, policy=email.policy.default)
    assert (message["Subject"], message["X-Ticket"], message["Bcc"]) == ("Grüße", "17", None)
    assert message["Message-ID"]
    assert message.get_body(("plain",)).get_content() == "first line\r\n.dot\r\n"
    [attachment] = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("a.bin", b"\0\1\2")
    raw = {"Content-Type": "message/rfc822"}
    where = "/api/v1/messages?from=ann@sender.test&to=erna@taken.test"
    assert admin.ask("POST", where, b"Subject: raw\n\n.one\nzw\xc3\xb6lf" + b"x" * 70_000, raw).status == 201
    [taken] = hop.wait_for("erna@taken.test")
    assert taken.content.endswith(b"Subject: raw\r\n\r\n.one\r\nzw\xc3\xb6lf" + b"x" * 70_000 + b"\r\n")
    refused = admin.ask("POST", "/api/v1/messages", {**LETTER, "to": "x@refused.test", "bcc": []})
    assert (refused.status, refused.json["refused"][0]["address"]) == (422, "x@refused.test")
    for wrong in (
        {"to": "nobody"},
        {"from": "a@b.test\r\nX: y"},
        {"headers": {"Bcc": "a@b.test"}},
        {"headers": {"X-A": "b\r\nX-C: d"}},
        {"subject": "a\nBcc: b@c.test"},
        {"more": 1},
    ):
        assert admin.ask("POST", "/api/v1/messages", {**LETTER, **wrong}).status == 422, wrong
    relay.wait_until_empty()
