"""What is allowed and unwise, and what its operator is told."""

from pathlib import Path

import pytest

from mta.config.dangers import dangers
from mta.config.load import load

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
