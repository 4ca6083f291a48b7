"""The HTTP side of a running relay: what is open, what a token opens, and metrics that a real Prometheus reads."""

import contextlib
import socket
from pathlib import Path

import pytest
from peers.clients import submit
from peers.daemon import Relay
from peers.ground import Loopback, free_port, wait_until
from peers.knot import Dns
from peers.sinks import MakeSink
from peers.web import Admin, Prometheus, StartAdmin


@pytest.mark.parametrize("workers", [1, 2])
def test_prometheus_is_told_what_happened(
    workers: int,
    start_admin: StartAdmin,
    dns: Dns,
    sink: MakeSink,
    loopback: Loopback,
    tmp_path: Path,
    sender: str,
) -> None:
    hop = sink("mx.counted.test")
    hop.script("RCPT", "450 4.2.1 come back later")
    dns.zone("counted.test", f"@ MX 10 mx\nmx A {hop.address}")
    relay, admin = start_admin(workers=workers, routes=[{"to": "no.test", "via": "550 5.7.1 not there"}])
    prometheus = Prometheus(tmp_path, loopback.address(), admin.where)
    prometheus.process.start()
    try:
        message = b"Subject: counted\r\n\r\nbody\r\n"
        waits = submit(relay, sender, ["bob@counted.test"], message)
        relay.wait_until_deferred(waits)
        with pytest.raises(Exception, match="no valid recipients"):
            submit(relay, sender, ["bob@no.test"], message)
        relay.wait_until_gone(waits)
        expected = {
            "mta_accepted_messages_total": 1,
            "mta_accepted_recipients_total": 1,
            'mta_refused_total{reason="policy",severity="permanent"}': 1,
            'mta_deferred_recipients_total{reason="mailbox"}': 1,
            "mta_delivered_recipients_total": 1,
            'mta_accepted_tls_total{version="none"}': 1,
            'mta_attempts_tls_total{version="none"}': 2,
            "mta_attempt_seconds_count": 2,
            "mta_delivery_seconds_count": 1,
            "mta_accept_seconds_count": 1,
            "mta_queue_messages": 0,
            "mta_workers": workers,
            "mta_pool_resting_sessions": 1,
        }

        def differs() -> dict[str, float | None]:
            told = admin.metrics()
            return {name: told.get(name) for name, value in expected.items() if told.get(name) != value}

        wait_until(lambda: not differs(), "the metrics tell it", pause=0.3)
        assert admin.metrics()["mta_commit_seconds_count"] >= 3
        prometheus.wait_for("mta_delivered_recipients_total", 1)
        prometheus.wait_for("up", 1)
        assert Admin(admin.where, None).ask("GET", "/readyz").json["status"] == "ready"
    finally:
        prometheus.process.kill()
        prometheus.process.forget()


def test_health_is_open_and_all_else_takes_the_token(start_admin: StartAdmin) -> None:
    relay, admin = start_admin()
    stranger = Admin(admin.where, None)
    assert stranger.ask("GET", "/healthz").json == {"status": "alive", "reasons": []}
    assert stranger.ask("GET", "/readyz").json == {"status": "ready", "reasons": []}
    for path in ("/", "/api/v1/queue", "/api/v1/openapi.json", "/static/x.js"):
        assert stranger.ask("GET", path).status == 401
    assert stranger.ask("GET", "/healthz", headers={"Host": "evil.example"}).status == 421
    assert admin.ask("GET", "/nothing").status == 404
    folder = relay.folder.parent / "other"
    folder.mkdir()
    taken = Relay(folder, relay.address, free_port(relay.address), dict(relay.settings))
    taken.settings["listen"] = [{"address": f"{relay.address}:{free_port(relay.address)}", "tls": "none"}]
    taken.write_configuration()
    taken.process.start()
    assert taken.process.wait() == 1
    assert f"cannot listen on {admin.where} (admin.listen): Address already in use" in taken.process.output
    taken.process.forget()
    leave_alive_where_its_queue_is_damaged(relay, stranger)


def leave_alive_where_its_queue_is_damaged(relay: Relay, stranger: Admin) -> None:
    """A new start would set the file aside, and go on without what was in it."""
    file = relay.spool / "queue-0.db"
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xff" * (file.stat().st_size - 4096))

    def why() -> list[str]:
        answer = stranger.ask("GET", "/readyz")
        return [one["why"] for one in answer.json["reasons"]] if answer.status == 503 else []

    [said] = wait_until(why, "it is not ready")
    assert "malformed" in said
    assert stranger.ask("GET", "/healthz").json == {"status": "alive", "reasons": []}
    assert relay.process.is_alive


def test_clients_that_never_ask_do_not_lock_the_operator_out(start_admin: StartAdmin) -> None:
    _, admin = start_admin()
    host, _, port = admin.where.rpartition(":")
    with contextlib.ExitStack() as idle:
        for number in range(150):
            client = idle.enter_context(socket.create_connection((host, int(port)), timeout=5))
            client.sendall(b"GET /api/v1/queue HTTP/1.1\r\nHost: loc"[: number % 40])
        for _ in range(3):
            assert admin.ask("GET", "/api/v1/queue").status == 200
