"""What is allowed and unwise, and what its operator is told."""

from pathlib import Path

import pytest

from mta.config.dangers import dangers
from mta.config.load import ConfigError, check_files, load

SOUND = """\
hostname: mail.example.org
postmaster: postmaster@example.net
spool: spool
"""

DANGERS = {
    "nothing": ("relay: {networks: [127.0.0.0/8, 10.0.0.0/8, 192.0.2.0/24]}", []),
    "source routes to hosts that others may write to": (
        "listen: [{address: '127.0.0.1:25', source_routes: follow}]\nrelay: {domains: [example.org]}",
        [
            "4: listen[0].source_routes: anybody can name a path through us and a host of relay.domains; if that host"
            " relays for us, it relays for all the world. Use strip, unless it follows no source routes itself"
        ],
    ),
    "name that is not qualified": (
        "hostname: relay",
        [
            "3: hostname: relay is not fully qualified; many receivers refuse mail from such a HELO name."
            " Set hostname to the name that this machine's address resolves to"
        ],
    ),
    "postmaster is ours": (
        "postmaster: root@Mail.example.org",
        [
            "3: postmaster: mail to root@Mail.example.org would come back to us (no route matches: by MX of"
            " mail.example.org), and bounce; name a mailbox elsewhere, or add a route for it"
        ],
    ),
    "postmaster is ours, with a route": (
        "postmaster: root@mail.example.org\nroutes: [{to: mail.example.org, via: 'lmtp://127.0.0.1'}]",
        [],
    ),
    "postmaster is thrown away": (
        "routes: [{to: '*', via: discard}]",
        [
            "2: postmaster: mail to postmaster@example.net would be thrown away (routes[0]: to *);"
            " name a mailbox that somebody reads (RFC 5321 4.5.1)"
        ],
    ),
    "postmaster is refused": (
        "routes: [{to: example.net, via: '550'}]",
        [
            "2: postmaster: mail to postmaster@example.net would be thrown away (routes[0]: to example.net);"
            " name a mailbox that somebody reads (RFC 5321 4.5.1)"
        ],
    ),
    "webhooks in the clear, and unsigned": (
        "webhooks:\n- {url: 'http://10.0.0.1/', secret_file: none}\n"
        "- {url: 'http://127.0.0.1:80/', secret_file: none}\n"
        "- {url: 'https://a.example/'}\n- {url: 'http://localhost/', secret_file: none}",
        [
            "5: webhooks[0].url: who sends mail to whom goes to 10.0.0.1 in the clear, and can be read on the way; use"
            " https",
            "7: webhooks[2]: signs nothing, so whoever knows the URL can tell its receiver anything; name a"
            " secret_file, with a secret as `openssl rand -hex 32` makes one, and have the receiver check"
            " X-Mta-Signature",
        ],
    ),
    "no listener": ("listen: []", ["4: listen: there is no listener, so no mail can come in; give one an address"]),
    "wide networks on a public listener": (
        "relay:\n  networks: [11.0.0.0/8, 192.168.0.0/16]\nlisten:\n  - address: 127.0.0.1:25\n"
        "  - address: 0.0.0.0:25\n  - address: 203.1.113.1:25\n  - address: unix:x",
        [
            "5: relay.networks: 16,777,216 public addresses may send anywhere through this relay;"
            " name only the networks that you run",
            *(
                f"{line}: listen[{number}].address: {address} can be reached from outside and has no TLS,"
                " so what the clients of relay.networks send can be read on the way"
                for line, number, address in ((8, 1, "0.0.0.0:25"), (9, 2, "203.1.113.1:25"))
            ),
        ],
    ),
    "private networks may be wide": ("relay: {networks: [10.0.0.0/8, 'fc00::/7', 'fe80::/10']}", []),
    "routes that never match": (
        "routes:\n"
        "  - {to: .example.org, via: mx}\n"
        "  - {to: a.example.org, via: mx}\n"
        "  - {from: a.example, via: mx}\n"
        "  - {to: b.example, from: u@a.example, via: mx}\n"
        "  - {to: '*', from: b.example, via: mx}\n"
        "  - {to: '*', via: mx}\n"
        "  - {to: b.example, via: mx}",
        [
            f"{number + 5}: routes[{number}]: never matches, since routes[{before}] ({whom}) takes all of its mail"
            " first; put it before that one"
            for number, before, whom in ((1, 0, "to .example.org"), (3, 2, "from a.example"), (6, 5, "to *"))
        ],
    ),
    "route to ourselves": (
        "listen: [{address: '127.0.0.2:25'}]\nroutes: [{to: example.org, via: 'smtp://127.0.0.2'}]",
        ["5: routes[0].via: smtp://127.0.0.2:25 is a listener of this relay: a loop"],
    ),
    "warning after the end": (
        "retry: {warn: 6d, give_up: 5d}",
        [
            "4: retry.warn: 6d is not before give_up (5d), so no delay notice is sent; write never if that is meant",
        ],
    ),
    "low limits": (
        "limits: {message_size: 1KiB, recipients: 99}",
        [
            "4: limits.message_size: 1KiB is less than the 64KiB that every server has to take (RFC 5321 4.5.3.1.7)",
            "4: limits.recipients: 99 is less than the 100 that every server has to take (RFC 5321 4.5.3.1.8)",
        ],
    ),
    "postmaster is in a domain that we take, and goes by MX": (
        "postmaster: me@ours.net\nrelay: {domains: [ours.net]}",
        [
            "3: postmaster: mail to me@ours.net would come back to us (no route matches: by MX of ours.net), and"
            " bounce; name a mailbox elsewhere, or add a route for it"
        ],
    ),
    "postmaster is at a listener of ours": (
        "routes: [{to: example.net, via: 'smtp://127.0.0.1:2525'}]",
        [
            "2: postmaster: mail to postmaster@example.net would come back to us (routes[0]: to example.net), and"
            " bounce; name a mailbox elsewhere, or add a route for it",
            "4: routes[0].via: smtp://127.0.0.1:2525 is a listener of this relay: a loop",
        ],
    ),
    "giving up within a day": (
        "retry: {after: [1m], warn: never, give_up: 4h}",
        [
            "4: retry.give_up: mail is given up after 4h; a host that is down for a night is not unusual."
            " RFC 5321 4.5.4.1 has 4 to 5 days"
        ],
    ),
    "the port of submissions without TLS": (
        "listen: [{address: '0.0.0.0:465'}, {address: '127.0.0.1:465'}]",
        [
            "4: listen[0].tls: clients begin with TLS at port 465, and this listener does not understand that;"
            " write implicit"
        ],
    ),
}


@pytest.mark.parametrize("name", DANGERS)
def test_danger_is_told(tmp_path: Path, name: str) -> None:
    added, expected = DANGERS[name]
    path = tmp_path / "mta.yml"
    key = added.partition(":")[0]
    others = [line for line in SOUND.splitlines() if not line.startswith(f"{key}:")]
    path.write_text("\n".join([*others, added, ""]), encoding="utf-8")
    assert [str(danger).removeprefix(f"{path}:") for danger in dangers(load(path))] == expected


def test_file_descriptors(tmp_path: Path) -> None:
    path = tmp_path / "mta.yml"
    path.write_text(SOUND, encoding="utf-8")
    config = load(path)
    assert dangers(config, 4096) == []
    [danger] = dangers(config, 1024)
    assert danger.key == "limits.connections"
    assert danger.text == (
        "2000 connections need more files than the 1024 that the system lets this process open;"
        " set it to 768, or raise the limit (ulimit -n)"
    )


UPSTREAM = {
    "any sender through Microsoft": (
        "login: one, via: 'smtp://smtp.office365.com:587', to: '*', tls: verify",
        "scan@example.org",
        [
            "routes[0]: takes mail from any sender to smtp.office365.com, logged in as scan@example.org; where the"
            " sender is another one, smtp.office365.com refuses it. Have your programs write scan@example.org, or name"
            " it in from: and send the others elsewhere"
        ],
    ),
    "a domain through Gmail": (
        "login: one, via: 'smtps://smtp.gmail.com', from: example.org, tls: verify",
        "scan@example.org",
        [
            "routes[0]: takes mail from example.org to smtp.gmail.com, logged in as scan@example.org; where the sender"
            " is another one, smtp.gmail.com puts the address of the login in its place, unless that account has the"
            " other one as an alias. Have your programs write scan@example.org, or name it in from: and send the"
            " others elsewhere"
        ],
    ),
    "the login's own address": (
        "login: one, via: 'smtps://smtp.gmail.com', from: Scan@example.org, tls: verify",
        "scan@example.org",
        [],
    ),
    "a host that is only called so": ("login: one, via: 'smtps://notgmail.com', to: '*', tls: verify", "a@b.org", []),
    "any sender through SES": (
        "login: one, via: 'smtp://email-smtp.eu-west-1.amazonaws.com:587', to: '*', tls: verify",
        "AKIA",
        [
            "routes[0]: takes mail from any sender to email-smtp.eu-west-1.amazonaws.com, which refuses those that are"
            " not verified there (554); verify them, or name in from: the domain that is"
        ],
    ),
    "a domain of others": (
        "login: one, via: 'smtp://smtp.isp.net:587', from: '*@else.net', tls: verify",
        "me@isp.net",
        [
            "routes[0].from: else.net is of another domain than the login, me@isp.net; many providers refuse such a"
            " sender. Ask smtp.isp.net whether it may, or log in as somebody of that domain"
        ],
    ),
    "a domain below": ("login: one, via: 'smtp://s.isp.net:587', from: .isp.net, tls: verify", "me@isp.net", []),
    "no address to compare with": ("login: one, via: 'smtp://s.isp.net:587', from: b.net, tls: verify", "shop", []),
    "in the clear": (
        "login: one, via: 'smtp://s.isp.net:587', to: '*', tls: none",
        "me",
        [
            "routes[0].tls: logs in at s.isp.net over plain text: PLAIN and LOGIN are not used so, and mail can be read"
            " on the way; write verify"
        ],
    ),
    "with anybody's certificate": (
        "login: one, via: 'smtp://s.isp.net:587', to: '*'",
        "me",
        [
            "routes[0].tls: logs in at s.isp.net without looking whose certificate it shows, so whoever stands in"
            " between gets the password; write tls: verify"
        ],
    ),
    "on this machine": ("login: one, via: 'smtp://127.0.0.1:587', to: '*'", "me", []),
    "TLS at the port that begins without": (
        "via: 'smtps://s.isp.net:587', to: '*'",
        "me",
        [
            "routes[0].via: port 587 begins in the clear, nearly everywhere; write smtp://s.isp.net:587, with"
            " tls: verify"
        ],
    ),
    "no TLS at the port that begins with it": (
        "via: 'smtp://s.isp.net:465', to: '*'",
        "me",
        ["routes[0].via: port 465 speaks TLS from the first octet, nearly everywhere; write smtps://s.isp.net"],
    ),
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_danger_upstream_is_told(tmp_path: Path, name: str) -> None:
    route, user, expected = UPSTREAM[name]
    (tmp_path / "secret").touch(mode=0o600)
    path = tmp_path / "mta.yml"
    path.write_text(f"{SOUND}routes: [{{{route}}}]\nlogins: {{one: {{user: '{user}', password_file: secret}}}}\n")
    assert [str(danger).removeprefix(f"{path}:4: ") for danger in dangers(load(path))] == expected


@pytest.mark.parametrize(
    ("how", "key", "what"),
    [
        ("tls: required", "tls", "tls: required"),
        ("tls: implicit", "tls", "tls: implicit"),
        ("auth: required", "auth", "auth: required"),
    ],
)
def test_port_25_demands_nothing(tmp_path: Path, how: str, key: str, what: str) -> None:
    path = tmp_path / "mta.yml"
    (tmp_path / "accounts.yml").touch(mode=0o600)
    (tmp_path / "key.pem").touch(mode=0o600)
    more = "tls: {certificate: cert.pem, key: key.pem}\naccounts: accounts.yml\n"
    path.write_text(f"{SOUND}{more}listen: [{{address: '127.0.0.1:25', {how}}}, {{address: '[::]:25', {how}}}]\n")
    assert [str(danger).removeprefix(f"{path}:") for danger in dangers(load(path))] == [
        f"6: listen[1].{key}: mail from the world comes to port 25, and not all of it can do what {what} demands"
        " (RFC 3207 4); have that on port 587 or 465"
    ]


def test_a_key_that_everybody_can_read(tmp_path: Path) -> None:
    path = tmp_path / "mta.yml"
    for name in "key.pem", "other.pem":
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    names = "names: {a.net: {certificate: cert.pem, key: other.pem}}"
    path.write_text(f"{SOUND}tls: {{certificate: cert.pem, key: key.pem, {names}}}\n")
    assert [str(danger).removeprefix(f"{path}:4: ") for danger in dangers(load(path))] == [
        f"tls{key}: everybody on this machine can read the private key in {file}; say chmod o-rwx {file}"
        for key, file in ((".key", tmp_path / "key.pem"), ('.names."a.net".key', tmp_path / "other.pem"))
    ]


def test_the_secret_of_a_webhook_that_everybody_can_read_or_nobody(tmp_path: Path) -> None:
    path, secret = tmp_path / "mta.yml", tmp_path / "webhook.secret"
    path.write_text(f"{SOUND}webhooks: [{{url: 'https://a.example/', secret_file: webhook.secret}}]\n")
    for octets, wrong in ((None, "cannot be read: No such file"), (b"short\n", "must hold at least 16 characters")):
        if octets is not None:
            secret.write_bytes(octets)
        with pytest.raises(ConfigError, match=f"4: webhooks\\[0\\].secret_file: {secret} {wrong}"):
            check_files(load(path))
    secret.write_text("0123456789abcdef\n")
    secret.chmod(0o604)
    check_files(load(path))
    assert [str(danger).removeprefix(f"{path}:4: ") for danger in dangers(load(path))] == [
        f"webhooks[0].secret_file: everybody on this machine can read the secret of a webhook in {secret};"
        f" say chmod o-rwx {secret}"
    ]


def test_postmaster_is_an_alias(tmp_path: Path) -> None:
    """What an alias leads to counts, not the name."""
    path = tmp_path / "mta.yml"
    (tmp_path / "directory.yml").write_text("ours.net: {aliases: {postmaster: [me@example.net]}}\n")
    ours = "postmaster: postmaster@ours.net\nrelay: {domains: [ours.net]}\ndirectory: directory.yml\n"
    path.write_text(f"hostname: mail.example.org\nspool: spool\n{ours}")
    assert dangers(load(path)) == []
    (tmp_path / "directory.yml").write_text("ours.net: {aliases: {postmaster: [me@ours.net]}, mailboxes: {me: {}}}\n")
    (danger,) = dangers(load(path))
    assert danger.text.startswith(
        "mail to postmaster@ours.net would come back to us (no route matches: by MX of ours.net, for me@ours.net)"
    )
