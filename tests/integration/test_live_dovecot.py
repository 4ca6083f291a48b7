"""Dovecot as the mail store behind the relay, over LMTP."""

import pytest
from peers.clients import submit
from peers.daemon import StartRelay
from peers.dovecot import Dovecot
from peers.sinks import Sink
from reading import read_report, trace_on_top, with_lf

CONTENT = (
    b"From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <store@sender.test>\r\n"
    b"Subject: store\r\n\r\n.\r\n..dots\r\n" + b"line\r\n" * 5000 + b"\r\nthe end\r\n"
)


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_the_mail_store_has_every_octet_and_who_is_unknown_there_is_bounced(
    start_relay: StartRelay, dovecot: Dovecot, senders: Sink, way: str, sender: str
) -> None:
    via = {"tcp": f"lmtp://{dovecot.address}:{dovecot.port}", "unix": f"lmtp+unix:{dovecot.socket}"}[way]
    relay = start_relay(routes=[{"to": "store.test", "via": via, "name": "store"}])
    own = sender.replace("@", f"-{way}@")
    people = [f"{name}@store.test" for name in ("bob", "nobody", "carol")]
    before = {user: len(dovecot.mailbox(user)) for user in people}
    queue_id = submit(relay, own, people, CONTENT)
    for user in ("bob@store.test", "carol@store.test"):
        stored = dovecot.wait_for(user, before[user] + 1)
        [message] = [one for one in stored if queue_id.encode() in one]
        assert trace_on_top(message, with_lf(CONTENT))[0] == f"Return-Path: <{own}>\n".encode()
    [bounce] = senders.wait_for(own)
    report = read_report(bounce.content)
    assert [one["final-recipient"] for one in report.recipients] == ["rfc822;nobody@store.test"]
    assert report.about("nobody@store.test")["status"] == "5.1.1"
    assert "User doesn't exist" in report.about("nobody@store.test")["diagnostic-code"]
    relay.wait_until_gone(queue_id)
    assert [len(dovecot.mailbox(user)) - before[user] for user in people] == [1, 0, 1]
