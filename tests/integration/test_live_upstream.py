"""Postfix as an upstream that wants a login, and as a hop that mail must reach, or may reach, inside TLS."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from peers.daemon import Relay, running_relay
from peers.ground import Loopback, free_port, wait_until
from peers.hops import DOMAIN, HOST, MECHANISMS, OTHER_NAME, PASSWORD, USER, Hops, attempts
from peers.knot import Dns
from peers.sinks import Sink
from peers.speaking import hand_in
from reading import trace_on_top, with_lf

CONTENT = (
    b"From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <upstream@sender.test>\r\n"
    b"Subject: upstream\r\n\r\n.dot\r\nthe end\r\n"
)
CIPHER = "TLSv1.3 TLS_AES_256_GCM_SHA384"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, loopback: Loopback, hops: Hops, dns: Dns) -> Iterator[Relay]:
    """A relay with logins, which believes the authority of Postfix's certificate as if the system did."""
    address = loopback.address()
    folder = tmp_path_factory.mktemp("upstream")
    for name, password in (("right", PASSWORD), ("wrong", "incorrect"), ("clear", PASSWORD)):
        (folder / name).write_text(f"{password}\n")
        (folder / name).chmod(0o600)
    settings = {
        "logins": {name: {"user": USER, "password_file": name} for name in ("right", "wrong", "clear")},
        "routes": [
            *(hops.route(f"by-{one}", tls="require", login="right") for one in MECHANISMS),
            hops.route("login", tls="verify", login="wrong"),
            hops.route("clear", login="clear"),
            hops.route("no-login", tls="require", login="right"),
            hops.route("all", tls="verify"),
            hops.route("no-starttls", "required", tls="require"),
            hops.route("nothing", tls="may"),
            {"to": f"misnamed@{DOMAIN}", "via": hops.url("all", host=OTHER_NAME), "tls": "verify"},
            {"to": f"spare@{DOMAIN}", "via": hops.url("no-vrfy", host=OTHER_NAME), "tls": "require"},
            {"to": f"implicit@{DOMAIN}", "via": hops.url("implicit", "smtps"), "tls": "verify"},
            hops.route("old-tls"),
            hops.route("old-tls", "demanding", tls="require"),
        ],
        "retry": {"after": ["5m"], "warn": "never", "give_up": "5d"},
        "dns": {"nameservers": [dns.nameserver]},
    }
    before = ("env", f"SSL_CERT_FILE={hops.authority}")
    with running_relay(Relay(folder, address, free_port(address), settings, before=before)) as running:
        yield running


def send(relay: Relay, name: str) -> str:
    return hand_in(relay, f"upstream-{name}@sender.test", [f"{name}@{DOMAIN}"], CONTENT)


def arrived(hops: Hops, name: str) -> None:
    """What the relay of this module sent has come, and only once."""
    trace_on_top(hops.wait_for(name, f"upstream-{name}@sender.test"), with_lf(CONTENT))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_login_by_each_mechanism_inside_tls(mechanism: str, hops: Hops, relay: Relay) -> None:
    send(relay, f"by-{mechanism}")
    arrived(hops, f"by-{mechanism}")
    accepted = f".*: client=.* sasl_method={mechanism.upper()}, sasl_username={USER}$"
    wait_until(lambda: hops.logged(f"by-{mechanism}", accepted), f"Postfix tells of a login by {mechanism}")


def test_a_wrong_password_holds_the_mail_until_it_is_corrected(hops: Hops, relay: Relay, senders: Sink) -> None:
    queue_ids = [send(relay, "login") for _ in range(20)]
    wait_until(lambda: set(states(relay)) == {"held", "deferred"}, "no try is under way", pause=0.2)
    after = states(relay)
    assert after["held"] <= 5, "a server that counts failures is left in peace"
    refused = "warning: .* authentication failed"
    wait_until(lambda: len(hops.logged("login", refused)) == after["held"], "Postfix tells of each try")
    entry = relay.queued(queue_ids[0])
    assert entry is not None
    reply = entry["recipients"][0]["last_reply"]
    assert f'login "wrong" refused by {HOST}[{hops.address}]:{hops.ports["login"]}: 535 5.7.8' in reply
    assert [line for line in relay.output.splitlines() if " alarm " in line and "535 5.7.8" in line]
    assert "incorrect" not in relay.output
    time.sleep(1.0)
    assert len(hops.logged("login", refused)) == after["held"], "the password is not tried again and again"
    assert states(relay) == after
    assert after.total() == len(queue_ids)
    (relay.folder / "wrong").write_text(f"{PASSWORD}\n")
    relay.mta("release", "--all")
    wait_until(lambda: len(hops.postfix.mailbox("login")) == len(queue_ids), "all are delivered")
    assert not senders.messages_for("upstream-login@sender.test"), "nothing has bounced"
    relay.wait_until_gone(queue_ids[0])
    last = attempts(relay, queue_ids[0])[-1]
    assert last["tls"] == f"{CIPHER}, certificate verified for {HOST}"


def states(relay: Relay) -> Counter[str]:
    """How many of the messages to the mailbox "login" are in each state."""
    return Counter(one["recipients"][0]["state"] for one in relay.queue("--to", f"login@{DOMAIN}")["messages"])


def state(relay: Relay, queue_id: str) -> str:
    entry = relay.queued(queue_id)
    return str(entry["recipients"][0]["state"]) if entry else "gone"


def test_a_password_is_not_told_in_the_clear_nor_to_who_does_not_ask(hops: Hops, relay: Relay) -> None:
    clear, without = send(relay, "clear"), send(relay, "no-login")
    wait_until(lambda: state(relay, clear) == state(relay, without) == "held", "both are held", pause=0.2)
    replies = {one["id"]: one["recipients"][0]["last_reply"] for one in relay.queue()["messages"]}
    assert "safe only inside TLS" in replies[clear]
    assert "offers no AUTH" in replies[without]
    assert not hops.heard("clear", "AUTH")
    assert not hops.heard("no-login", "MAIL")
    relay.mta("drop", "--yes", clear, without)


def test_tls_that_is_required_is_waited_for(hops: Hops, relay: Relay) -> None:
    lacking, misnamed, demanding = send(relay, "required"), send(relay, "misnamed"), send(relay, "demanding")
    replies = {
        one: relay.wait_until_deferred(one)["recipients"][0]["last_reply"] for one in (lacking, misnamed, demanding)
    }
    assert replies[lacking] == f"451 4.7.4 TLS is required here, and {HOST} does not offer STARTTLS"
    assert replies[misnamed] == f"451 4.7.5 the certificate is for {HOST}; not for {OTHER_NAME}"
    assert replies[demanding].startswith("451 4.7.5 the TLS handshake failed: ")
    assert not hops.heard("no-starttls", "upstream-required")
    relay.mta("drop", "--yes", lacking, misnamed, demanding)


def test_tls_that_is_there_is_told_of(hops: Hops, relay: Relay) -> None:
    names = ("all", "spare", "implicit", "nothing", "old-tls")
    queue_ids = {name: send(relay, name) for name in names}
    for name in names:
        arrived(hops, name)
    last = {name: attempts(relay, queue_id)[-1] for name, queue_id in queue_ids.items()}
    assert last["all"]["tls"] == last["implicit"]["tls"] == f"{CIPHER}, certificate verified for {HOST}"
    assert last["spare"]["tls"] == f"{CIPHER}, certificate not verified"
    assert "STARTTLS" not in hops.postfix.heard("implicit")
    assert "tls" not in last["nothing"]
    assert "notes" not in last["nothing"]
    assert "tls" not in last["old-tls"]
    [note] = last["old-tls"]["notes"]
    assert note.startswith("in the clear, though the server offers TLS: the TLS handshake failed: ")
    assert "certificate verified" in relay.story(queue_ids["all"])
