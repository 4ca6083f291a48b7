"""SIGHUP: what stands in the files now is put in force, all of it or nothing, and no session hears of it."""

import os
import pwd
import re
import shutil
import signal
import smtplib
import ssl
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from peers.clients import Talk, submit
from peers.daemon import Relay, StartRelay
from peers.ground import Loopback, free_port, greets, needs_port_25, wait_until
from peers.load import load
from peers.sinks import MakeSink, Sink
from peers.web import StartAdmin

CONTENT = b"Subject: hello\r\n\r\nbody\r\n"
SUBJECT = re.compile(rb"^Subject: (\S+)\r$", re.MULTILINE)
ENDED = re.compile(r"^\S+ - (?:reloaded|not-reloaded) .*", re.MULTILINE)


def reload(relay: Relay, **settings: Any) -> list[str]:
    """Change the configuration, send SIGHUP, and wait for what the log says of it."""
    relay.settings.update(settings)
    relay.write_configuration()
    return hang_up(relay)


def hang_up(relay: Relay) -> list[str]:
    before = len(ENDED.findall(relay.output))
    os.kill(relay.process.pid, signal.SIGHUP)
    wait_until(lambda: len(ENDED.findall(relay.output)) > before, "the reload has come to something")
    return [line.split(" - ", 1)[1] for line in ENDED.findall(relay.output)[before:]]


def by(hop: Sink) -> list[dict[str, str]]:
    return [{"to": "*", "via": f"smtp://{hop.address}:25"}]


def subjects(hop: Sink) -> Counter[str]:
    return Counter(SUBJECT.findall(one.content)[0].decode() for one in hop.taken)


def listening(relay: Relay, *ports: int) -> list[dict[str, str]]:
    return [{"address": f"{relay.address}:{port}", "tls": "none"} for port in ports]


@pytest.mark.parametrize("workers", [1, 2])
def test_under_load_no_connection_is_refused_and_no_mail_is_lost(
    start_relay: StartRelay, sink: MakeSink, workers: int
) -> None:
    first, second = sink(), sink()
    relay = start_relay(routes=by(first), workers=workers)
    other = free_port(relay.address)
    with load(relay.address, relay.port, "bob@load.test") as sending:
        for number in range(4):
            ports = (relay.port, other) if number % 2 else (relay.port,)
            hop = second if number % 2 else first
            said = reload(relay, routes=by(hop), listen=listening(relay, *ports), limits={"recipients": 100 + number})
            [line] = said
            assert line.startswith("reloaded changed=")
            assert {"routes", "listen", "limits.recipients"} >= set(line.partition("=")[2].split(","))
            time.sleep(0.1)
        assert greets(relay.address, other)
    assert (sending.refused, sending.cut) == ([], [])
    assert len(sending.sent) > 30
    relay.wait_until_empty()
    assert subjects(first) + subjects(second) == Counter(sending.sent)
    assert len(first.taken) > 5
    assert len(second.taken) > 5
    assert relay.stop() in (0, -signal.SIGTERM)


def test_what_is_wrong_is_told_with_its_place_and_changes_nothing(start_relay: StartRelay, sink: MakeSink) -> None:
    hop = sink()
    relay = start_relay(routes=by(hop))
    said = reload(relay, routes=[{"to": "*", "via": "discrd"}], retry={"aftr": ["1s"]}, limits={"recipients": 1})
    lines = relay.configuration.read_text().splitlines()
    at = {key: number for number, line in enumerate(lines, 1) for key in [line.strip(" -").partition(":")[0]]}
    assert len(said) == 2
    assert said[0].startswith(f'not-reloaded why="{relay.configuration}:{at["aftr"]}: retry.aftr: is not a key')
    assert said[1].startswith(f'not-reloaded why="{relay.configuration}:{at["via"]}: routes[0].via: ')
    submit(relay, "a@client.test", ["bob@wrong.test", "carol@wrong.test"], CONTENT)
    hop.wait_for("bob@wrong.test")
    del relay.settings["retry"], relay.settings["limits"]
    assert reload(relay, routes=by(hop)) == ["reloaded changed=retry.after,retry.warn"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_transaction_is_judged_by_the_configuration_that_it_began_with(
    start_relay: StartRelay, sink: MakeSink, workers: int
) -> None:
    """And who is connected stays, though nobody listens there any more."""
    hop = sink()
    relay = start_relay(routes=by(hop), workers=workers)
    old, new = relay.port, free_port(relay.address)
    with Talk(relay.address, old) as begun:
        begun.reply()
        begun.say("EHLO client.test")
        assert begun.say("MAIL FROM:<a@client.test>").startswith("250")
        refusing = [{"to": "late@begun.test", "via": "550 5.7.1 not any more"}, *by(hop)]
        [line] = reload(relay, hostname="new.test", routes=refusing, listen=listening(relay, new))
        assert line == "reloaded changed=hostname,postmaster,listen,routes"
        wait_until(lambda: greets(relay.address, new), "the new listener greets")
        assert not greets(relay.address, old)
        with Talk(relay.address, new) as later:
            assert later.reply().startswith("220 new.test ")
            later.say("EHLO client.test")
            later.say("MAIL FROM:<a@client.test>")
            assert later.say("RCPT TO:<late@begun.test>") == "550 5.7.1 not any more"
        assert begun.say("RCPT TO:<late@begun.test>").startswith("250")
        assert begun.say("RCPT TO:<bob@begun.test>").startswith("250")
        assert begun.say("DATA").startswith("354")
        begun.send(CONTENT + b".\r\n")
        assert begun.reply().startswith("250 2.0.0 queued as ")
        hop.wait_for("bob@begun.test")
        assert begun.say("QUIT") == "221 2.0.0 relay.test closing connection"
    relay.port = new


def test_what_is_queued_goes_where_the_new_routes_lead_and_waits_as_the_new_times_say(
    start_relay: StartRelay, sink: MakeSink, sinks: Any
) -> None:
    down, up = sink(), sink()
    sinks.pause(down)
    relay = start_relay(routes=by(down), retry={"after": ["1s"], "warn": "never", "give_up": "5d"})
    queue_id = submit(relay, "a@client.test", ["bob@queued.test"], CONTENT)
    relay.wait_until_deferred(queue_id)
    assert reload(relay, routes=by(up)) == ["reloaded changed=routes"]
    up.wait_for("bob@queued.test")
    assert reload(relay, routes=by(down), retry={"after": ["2h"]}) == ["reloaded changed=routes,retry.after,retry.warn"]
    queue_id = submit(relay, "a@client.test", ["carol@queued.test"], CONTENT)
    relay.wait_until_deferred(queue_id)
    due = wait_until(lambda: (relay.queued(queue_id) or {})["recipients"][0]["next_attempt"], "it waits for its time")
    assert datetime.fromisoformat(due) > datetime.now(UTC) + timedelta(hours=1.9)


def certificate(folder: Path, name: str, authority: trustme.CA) -> dict[str, str]:
    issued = authority.issue_cert("relay.test", common_name=name)
    issued.private_key_pem.write_to_path(folder / f"{name}.key")
    issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return {"certificate": f"{name}.pem", "key": f"{name}.key"}


def shown(relay: Relay) -> str:
    """The common name of the certificate that the relay shows now."""
    with smtplib.SMTP(relay.address, relay.port, "client.test", timeout=20) as client:
        context = ssl.create_default_context(cafile=relay.folder / "ca.pem")
        context.check_hostname = False
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        subject = dict(one for [one] in client.sock.getpeercert()["subject"])  # type: ignore[index, misc]
        return subject["commonName"]


def test_certificates_and_tables_are_read_again_and_what_is_broken_stays(make_relay: StartRelay) -> None:
    relay = make_relay()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(relay.folder / "ca.pem")
    one, two = (certificate(relay.folder, name, authority) for name in ("one", "two"))
    relay.settings.update(tls=one, listen=[{"address": relay.where}], directory="directory.yml")
    names = relay.folder / "directory.yml"
    names.write_text("here.test: {mailboxes: {bob: {}}}\n")
    relay.settings.update(relay={"networks": [], "domains": ["here.test"]}, routes=[{"to": "*", "via": "discard"}])
    relay.write_configuration()
    relay.start()
    assert shown(relay) == "one"

    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        assert reload(relay, tls=two) == ["reloaded changed=tls.certificate,tls.key"]
        assert shown(relay) == "two"
        assert talk.say("NOOP").startswith("250")
    shutil.copy(relay.folder / "one.pem", relay.folder / "two.pem")  # whose key is another one
    assert hang_up(relay) == ["reloaded changed=nothing"]
    assert "is not the key of the certificate" in relay.output
    assert "the certificate that was in use stays in use" in relay.output
    assert shown(relay) == "two"
    [line] = reload(relay, tls={**two, "certificate": "nowhere.pem"}, hostname="other.test")
    assert line.startswith("not-reloaded why=")
    assert "nowhere.pem" in line
    reload(relay, tls=two, hostname="relay.test")

    def answer(name: str) -> str:
        with Talk(relay.address, relay.port) as talk:
            talk.reply()
            talk.say("EHLO client.test")
            talk.say("MAIL FROM:<a@client.test>")
            return talk.say(f"RCPT TO:<{name}@here.test>")[:9]

    assert (answer("bob"), answer("carol")) == ("250 2.1.5", "550 5.1.1")
    names.write_text("here.test: {mailboxes: {carol: {}}}\n")
    assert hang_up(relay) == ["reloaded changed=directory"]
    assert (answer("bob"), answer("carol")) == ("550 5.1.1", "250 2.1.5")
    names.write_text("here.test: {mailboxs: {bob: {}}}\n")
    [line] = hang_up(relay)
    assert line.startswith(f'not-reloaded why="{names}:1: \\"here.test\\".mailboxs: is not a key')
    assert (answer("bob"), answer("carol")) == ("550 5.1.1", "250 2.1.5")


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_out_of_reach_since_rights_were_given_away_stays_and_is_told(
    scratch: Path, make_relay: StartRelay, loopback: Loopback, workers: int
) -> None:
    if os.getuid():
        pytest.fail("needs root: only root has privileges to drop")
    address = loopback.address()
    needs_port_25(address)
    folder = scratch / f"reach{workers}"
    (folder / "spool").mkdir(parents=True, mode=0o755)
    shutil.chown(folder / "spool", "nobody", "nogroup")
    user = pwd.getpwnam("nobody")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    tls = certificate(folder, "one", authority)
    (folder / "directory.yml").write_text("here.test: {mailboxes: {bob: {}}}\n")
    (folder / "secret").write_text("secret\n")
    relay = make_relay(
        folder=folder,
        options=["--uid", user.pw_uid, "--gid", user.pw_gid],
        listen=[{"address": f"{address}:25"}],
        tls=tls,
        directory="directory.yml",
        logins={"up": {"user": "u", "password_file": "secret"}},
        workers=workers,
    )
    relay.address, relay.port = address, 25
    relay.configuration.chmod(0o644)
    # Workers read certificates and passwords by themselves, with the rights that they have.
    hidden, seen = ["directory.yml"], ["one.key", "secret"]
    if workers == 1:
        hidden, seen = [*hidden, *seen], []
    for name in hidden:
        (folder / name).chmod(0o600)
    for name in seen:
        (folder / name).chmod(0o644)
    relay.start()
    [line] = reload(relay, hostname="other.test")
    assert line == "reloaded changed=hostname,postmaster"
    assert f"directory: {folder}/directory.yml is out of reach; the names that are known stay" in relay.output
    told = f"logins.up.password_file: {folder}/secret is out of reach; the password that is known stays"
    assert (told in relay.output) == (workers == 1)
    assert shown(relay) == "one"
    assert greets(address, 25)
    before = relay.settings["listen"]
    [line] = reload(relay, hostname="third.test", listen=[*before, {"address": f"{address}:26"}])
    assert line == f'not-reloaded why="cannot listen on {address}:26: Permission denied"'
    [line] = reload(relay, listen=before, spool="elsewhere", workers=3)
    assert line == "reloaded changed=hostname,postmaster"
    assert f"spool: changes when the relay is started again; until then it is {folder}/spool" in relay.output
    assert f"workers: changes when the relay is started again; until then it is {workers}" in relay.output
    if workers > 1:  # who is started again goes by what the others go by
        for pid in relay.workers().values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: relay.output.count("started hostname=third.test worker=") == 2, "both are back", 20)
    relay.settings.update(spool="spool", workers=workers)
    with Talk(address, 25) as talk:
        assert talk.reply().startswith("220 third.test ")
    assert not (folder / "elsewhere").exists()


def test_the_api_and_the_console_answer_by_what_is_in_force(start_admin: StartAdmin, sink: MakeSink) -> None:
    relay, admin = start_admin(routes=[{"to": "*", "via": "discard"}])

    def told() -> str:
        answer = admin.ask("GET", "/api/v1/explain?address=bob@told.test")
        assert answer.status == 200
        return answer.body.decode()

    before = told()
    assert "nobody may write there" not in before
    refusing = [{"to": "told.test", "via": "550 5.7.1 nobody may write there"}]
    assert reload(relay, routes=refusing, admin={**relay.settings["admin"], "token_file": "other"}) == [
        "reloaded changed=routes"
    ]
    assert "nobody may write there" in told()
    assert "admin: changes when the relay is started again; until then it is listen: " in relay.output
