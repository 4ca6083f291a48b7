"""Wrong configurations, and exactly what their operator is told."""

from pathlib import Path

import pytest

from mta.config.load import check_files, load
from mta.config.problems import ConfigError

# What is added to a configuration that is right but for it, and what is said then. The first line added is line 2.
MISTAKES = {
    "unknown key, near another": (
        "postmastr: a@example.org",
        ['2: postmastr: is not a key here; did you mean "postmaster"? (got "postmastr")'],
    ),
    "unknown key that stands elsewhere": (
        "message_size: 10MiB",
        ['2: message_size: is not a key here; did you mean "limits.message_size"? (got "message_size")'],
    ),
    "unknown key, near none": (
        "log: {zzz: 1}",
        ['2: log.zzz: is not a key here; there are format, addresses (got "zzz")'],
    ),
    "unknown key in an entry of a list": (
        "listen:\n  - address: 127.0.0.1:25\n    tsl: none",
        ['4: listen[0].tsl: is not a key here; did you mean "tls"? (got "tsl")'],
    ),
    "key that stands twice": (
        "history: 7d\nhistory: 8d",
        ['3: history: stands here again; it is on line 2 (got "history")'],
    ),
    "missing key": (
        "listen:\n  - tls: none",
        ["3: listen[0].address: is missing (got nothing)"],
    ),
    "word that is not one of them": (
        "listen:\n  - address: 127.0.0.1:25\n    bare_lf: fixed",
        ['4: listen[0].bare_lf: must be refuse or fix; did you mean "fix"? (got "fixed")'],
    ),
    "mapping for a list": (
        "listen: {address: 127.0.0.1:25}",
        ['2: listen: must be a list (got {"address": "127.0.0.1:25"})'],
    ),
    "text for a list": (
        "relay: {networks: 192.0.2.0/24}",
        ['2: relay.networks: must be a list: [192.0.2.0/24] (got "192.0.2.0/24")'],
    ),
    "list for a mapping": (
        "relay: [192.0.2.0/24]",
        ['2: relay: must be a mapping, a `key: value` on each line (got ["192.0.2.0/24"])'],
    ),
    "number for text": (
        'routes: [{to: "*", via: mx, name: 5}]',
        ['2: routes[0].name: must be text; in quotes it is: "5" (got 5)'],
    ),
    "text for a number": (
        "limits: {recipients: many, received: 0777}",
        [
            '2: limits.recipients: must be a whole number (got "many")',
            '2: limits.received: must be a whole number (got "0777")',
        ],
    ),
    "number too small": (
        "limits: {connections: 0}",
        ["2: limits.connections: must be at least 1 (got 0)"],
    ),
    "word for a boolean": (
        "dns: {trust_ad: no}",
        ['2: dns.trust_ad: must be true or false (got "no")'],
    ),
    "host name": (
        "hostname: mail_.example..org",
        ['2: hostname: is not a domain (got "mail_.example..org")'],
    ),
    "host name that is an address": (
        'hostname: "[192.0.2.1]"',
        ['2: hostname: must be a name, not an address (got "[192.0.2.1]")'],
    ),
    "host name in Unicode": (
        "hostname: mail.müller.example",
        ['2: hostname: must be written in ASCII: mail.xn--mller-kva.example (got "mail.müller.example")'],
    ),
    "postmaster": (
        "postmaster: root",
        ['2: postmaster: is not an address: the @ and the domain are missing (got "root")'],
    ),
    "duration without unit": (
        "history: 7",
        ["2: history: lacks its unit; durations are written 90s, 5m, 4h or 5d (got 7)"],
    ),
    "duration in unknown unit": (
        "retry: {give_up: 5 days}",
        ['2: retry.give_up: is not a duration; durations are written 90s, 5m, 4h or 5d (got "5 days")'],
    ),
    "never where it cannot be": (
        "retry: {give_up: never}",
        ['2: retry.give_up: is not a duration; durations are written 90s, 5m, 4h or 5d (got "never")'],
    ),
    "waits that are none": (
        "retry: {after: [5x, 7]}",
        [
            '2: retry.after[0]: is not a duration; durations are written 90s, 5m, 4h or 5d (got "5x")',
            "2: retry.after[1]: lacks its unit; durations are written 90s, 5m, 4h or 5d (got 7)",
        ],
    ),
    "no waits": (
        "retry: {after: []}",
        ["2: retry.after: must not be empty (got [])"],
    ),
    "wait of nothing": (
        "retry:\n  after:\n    - 5m\n    - 0s",
        ['5: retry.after[1]: must be longer than nothing (got "0s")'],
    ),
    "size in unknown unit": (
        "limits: {message_size: 50M}",
        ['2: limits.message_size: has a unit that is not known; did you mean 50MiB? (got "50M")'],
    ),
    "listener without host": (
        "listen: [{address: 2525}, {address: '2525'}, {address: ':25'}]",
        [
            '2: listen[0].address: must be HOST:PORT, in quotes where HOST is an IPv6 address: "[::]:25" (got 2525)',
            "2: listen[1].address: lacks its host; write 127.0.0.1:2525, or 0.0.0.0:2525 for all addresses"
            ' (got "2525")',
            '2: listen[2].address: must name a host: 0.0.0.0 for all IPv4 addresses, [::] for all of IPv6 (got ":25")',
        ],
    ),
    "console on a socket of systemd": (
        "admin: {listen: systemd:admin}",
        [
            "2: admin.listen: must be HOST:PORT or unix:PATH; sockets from systemd are for listeners of mail"
            ' (got "systemd:admin")',
        ],
    ),
    "listener with a bare IPv6 address": (
        "listen: [{address: '::1:25'}]",
        [
            '2: listen[0].address: must be HOST:PORT; an IPv6 address stands in brackets: "[::1]:25" (got "::1:25")',
        ],
    ),
    "listener with a name": (
        "listen: [{address: 'mail.example.org:25'}]",
        [
            '2: listen[0].address: must have an IP address for its host (got "mail.example.org:25")',
        ],
    ),
    "listener with an impossible port": (
        "listen: [{address: '127.0.0.1:99999'}]",
        ['2: listen[0].address: has a port that is not one of 0 to 65535 (got "127.0.0.1:99999")'],
    ),
    "listener twice": (
        "listen:\n  - address: 127.0.0.1:25\n  - address: 127.0.0.1:26\n  - address: 127.0.0.1:25",
        ['5: listen[2].address: stands twice; entry [0] has it too (got "127.0.0.1:25")'],
    ),
    "network with host bits": (
        "relay:\n  networks:\n    - 127.0.0.1\n    - 192.0.2.5/24",
        [
            "5: relay.networks[1]: is an address inside a network; the network is 192.0.2.0/24,"
            ' the address alone 192.0.2.5 (got "192.0.2.5/24")'
        ],
    ),
    "network that is none": (
        "relay: {networks: [example.org]}",
        [
            '2: relay.networks[0]: is not a network; one is written 192.0.2.0/24 or 2001:db8::/32 (got "example.org")',
        ],
    ),
    "open relay by network": (
        'relay: {networks: [127.0.0.0/8, 0.0.0.0/0, "::/0", "::ffff:0:0/96"]}',
        [
            f"2: relay.networks[{number}]: is an open relay: the whole Internet could send anywhere through it;"
            f' name your own networks (got "{network}")'
            for number, network in ((1, "0.0.0.0/0"), (2, "::/0"), (3, "::ffff:0:0/96"))
        ],
    ),
    "open relay by a word": (
        'relay: {networks: ["*", any]}',
        [
            f"2: relay.networks[{number}]: is an open relay: the whole Internet could send anywhere through it;"
            f' name your own networks (got "{word}")'
            for number, word in ((0, "*"), (1, "any"))
        ],
    ),
    "open relay beside another mistake": (
        "relay:\n  networks:\n    - 0.0.0.0/0\n    - example.org",
        [
            "4: relay.networks[0]: is an open relay: the whole Internet could send anywhere through it;"
            ' name your own networks (got "0.0.0.0/0")',
            '5: relay.networks[1]: is not a network; one is written 192.0.2.0/24 or 2001:db8::/32 (got "example.org")',
        ],
    ),
    "open relay by halves": (
        "relay: {networks: [0.0.0.0/1, 128.0.0.0/1]}",
        [
            f"2: relay.networks[{number}]: is an open relay: much of the Internet could send anywhere through it;"
            f' name your own networks (got "{network}")'
            for number, network in ((0, "0.0.0.0/1"), (1, "128.0.0.0/1"))
        ],
    ),
    "open relay by neighbours": (
        "relay: {networks: [8.0.0.0/8, 9.0.0.0/8]}",
        [
            "2: relay.networks: is an open relay: much of the Internet, all of these together, could send anywhere"
            ' through it; name your own networks (got ["8.0.0.0/8", "9.0.0.0/8"])'
        ],
    ),
    "open relay by domain": (
        'relay: {domains: ["*", ".", "*@*", .com]}',
        [
            *(
                f"2: relay.domains[{number}]: is an open relay: it would take mail from anyone to everywhere;"
                f' name your own domains (got "{domain}")'
                for number, domain in enumerate(("*", ".", "*@*"))
            ),
            "2: relay.domains[3]: is an open relay: it would take mail from anyone to all of .com;"
            ' name your own domains (got ".com")',
        ],
    ),
    "relay domains with a star": (
        'relay: {domains: ["*.example.org"]}',
        ['2: relay.domains[0]: is not a domain; its subdomains are .example.org (got "*.example.org")'],
    ),
    "route for nobody": (
        "routes:\n  - to: a.example\n    via: mx\n  - via: mx",
        ['5: routes[1]: needs to or from; to: "*" is for all mail (got {"via": "mx"})'],
    ),
    "route to nowhere": (
        "routes: [{to: a.example}]",
        ["2: routes[0].via: is missing (got nothing)"],
    ),
    "routes of one name": (
        "routes:\n  - {to: a.example, via: mx, name: store}\n  - {to: b.example, via: mx, name: store}",
        ['4: routes[1].name: stands twice; entry [0] has it too (got "store")'],
    ),
    "route patterns": (
        'routes:\n  - {to: "@a.example", via: mx}\n  - {to: "*.a.example", via: mx}\n  - {to: "<>", via: mx}\n'
        '  - {to: "shop-*@a.example", via: mx}\n  - {from: a..b@a.example, via: mx}\n  - {from: [a], via: mx}',
        [
            '3: routes[0].to: names no mailbox; all of the domain is a.example (got "@a.example")',
            '4: routes[1].to: is not a pattern; the subdomains are .a.example (got "*.a.example")',
            '5: routes[2].to: is the null path, which no mail is sent to; it can stand behind from (got "<>")',
            '6: routes[3].to: has a * for part of a name; it can only stand for all of it (got "shop-*@a.example")',
            "7: routes[4].from: is not an address: the part before the @ has a dot at its end or two in a row, and is"
            ' not quoted (got "a..b@a.example")',
            '8: routes[5].from: must be an address, a domain, "*@domain", "*" or "<>" (got ["a"])',
        ],
    ),
    "ways onward": (
        'routes:\n  - {to: "*", via: smpt://a.example}\n  - {to: "*", via: "smtp://::1"}\n'
        '  - {to: "*", via: "smtp://user:secret@a.example"}\n  - {to: "*", via: "smtp://a.example:0"}\n'
        '  - {to: "*", via: 550 4.7.1 no}\n  - {to: "*", via: 250 yes}\n  - {to: "*", via: 550}',
        [
            "3: routes[0].via: is not a way onward; there are mx, smtp://HOST[:PORT], smtps://…, lmtp://…,"
            ' lmtp+unix:PATH, discard, or a refusal like 550 5.7.1 text; did you mean "smtp://HOST"? (got "smpt://a.example")',
            "4: routes[1].via: must be smtp://HOST or smtp://HOST:PORT; an IPv6 address stands in brackets:"
            ' smtp://[::1] (got "smtp://::1")',
            "5: routes[2].via: must not hold a user or password; those belong into an entry of logins"
            ' (got "smtp://user:***@a.example")',
            '6: routes[3].via: has a port that is not one of 1 to 65535 (got "smtp://a.example:0")',
            "7: routes[4].via: has an enhanced status code that does not begin with 5, as its reply code does"
            ' (got "550 4.7.1 no")',
            '8: routes[5].via: is not a refusal; one is written like "550 5.7.1 not accepted here", in ASCII'
            ' (got "250 yes")',
            "9: routes[6].via: must be text: mx, smtp://HOST, discard or a refusal in quotes (got 550)",
        ],
    ),
    "name servers": (
        "dns: {nameservers: [192.0.2.1, 'ns.example', '192.0.2.1:0', 53]}",
        [
            '2: dns.nameservers[1]: must have an IP address for its host (got "ns.example")',
            '2: dns.nameservers[2]: has a port that is not one of 1 to 65535 (got "192.0.2.1:0")',
            "2: dns.nameservers[3]: must be an address in quotes, with or without a port (got 53)",
        ],
    ),
    "processes": (
        "workers: all",
        ['2: workers: must be a number of processes from 1 to 64, or auto (got "all")'],
    ),
    "no processes": ("workers: 0", ["2: workers: must be a number of processes from 1 to 64, or auto (got 0)"]),
    "a thousand processes": (
        "workers: 1000",
        ["2: workers: must be a number of processes from 1 to 64, or auto (got 1000)"],
    ),
    "all at once, in the order of the file": (
        "histroy: 1d\nlimits:\n  recipients: x\nhostname: '-'\nretry: {warn: soon}",
        [
            '2: histroy: is not a key here; did you mean "history"? (got "histroy")',
            '4: limits.recipients: must be a whole number (got "x")',
            '5: hostname: is not a domain (got "-")',
            '6: retry.warn: is not a duration; durations are written 90s, 5m, 4h or 5d, or never (got "soon")',
        ],
    ),
    "what does not fit together, beside what is wrong by itself": (
        "history: 7\n"
        "listen:\n"
        "  - {address: 127.0.0.1:25, auth: offered}\n"
        "  - {address: 127.0.0.1:465, tls: implicit, client_ca: ca.pem}\n"
        "routes:\n"
        '  - {to: "*", via: smtp://a.example, login: nobody}',
        [
            "2: history: lacks its unit; durations are written 90s, 5m, 4h or 5d (got 7)",
            "4: listen[0].auth: needs accounts, a file of those who may log in (`mta account` writes it)"
            ' (got "offered")',
            '5: listen[1].tls: needs a certificate; name one in tls (got "implicit")',
            '5: listen[1].client_ca: needs TLS; name a certificate in tls (got "ca.pem")',
            '7: routes[0].login: is not an entry of logins; there is none (got "nobody")',
        ],
    ),
    "control characters do not reach the terminal": (
        'hostname: "\\e[31m\\u202e"',
        ['2: hostname: is not a domain (got "\\u001b[31m\\u202e")'],
    ),
    "keys with odd characters": (
        '"a b\\e": 1',
        [
            '2: "a b\\u001b": is not a key here; there are hostname, postmaster, spool, workers, listen, relay, routes,'
            " logins, retry, history, tls, accounts, directory, dns, limits, admin, webhooks, log"
            ' (got "a b\\u001b")'
        ],
    ),
    "TLS without a certificate": (
        "listen: [{address: '127.0.0.1:1', tls: required}, {address: '127.0.0.1:2', tls: implicit, client_ca: ca.pem}]",
        [
            '2: listen[0].tls: needs a certificate; name one in tls (got "required")',
            '2: listen[1].tls: needs a certificate; name one in tls (got "implicit")',
            '2: listen[1].client_ca: needs TLS; name a certificate in tls (got "ca.pem")',
        ],
    ),
    "anybody as a proxy": (
        "listen: [{address: '127.0.0.1:1', xclient: [0.0.0.0/0], proxy_protocol: ['::/0']}]",
        [
            "2: listen[0].proxy_protocol[0]: is an open relay: the whole Internet could claim to be a client that may "
            'send anywhere; name the proxies themselves (got "::/0")',
            "2: listen[0].xclient[0]: is an open relay: the whole Internet could claim to be a client that may "
            'send anywhere; name the proxies themselves (got "0.0.0.0/0")',
        ],
    ),
    "half a certificate": ("tls: {key: k.pem}", ['2: tls: needs certificate too (got {"key": "k.pem"})']),
    "names without a certificate": (
        "tls: {names: {a.example: {certificate: c.pem, key: k.pem}}}",
        [
            "2: tls: needs certificate and key, for clients that ask for no name "
            '(got {"names": {"a.example": {"certificate": "c.pem", "key": "k.pem"}}})'
        ],
    ),
    "webhooks": (
        "webhooks:\n- {url: ftp://a.example, events: [delivred, received]}\n- {url: 'http://a.example/zoë'}\n"
        "- {url: 'http://me@a.example/'}\n- {url: 'https://a.example/#x'}\n- {url: 'https://a.example:99999/'}\n- {}",
        [
            "3: webhooks[0].url: must begin with https://HOST or http://HOST, as https://example.org/mail-events"
            ' (got "ftp://a.example")',
            "3: webhooks[0].events[0]: must be received, delivered, deferred, bounced, discarded, expanded, dropped,"
            ' held, released, retried, unknown, notice or ended; did you mean "delivered"? (got "delivred")',
            "4: webhooks[1].url: must be ASCII without spaces; write other characters of a path as %C3%A9, of a host as"
            ' xn--… (got "http://a.example/zoë")',
            "5: webhooks[2].url: must name no user or password; who posts is shown by the signature, see secret_file"
            ' (got "http://me@a.example/")',
            '6: webhooks[3].url: must have no #fragment, which is never sent (got "https://a.example/#x")',
            '7: webhooks[4].url: is no URL: Port out of range 0-65535 (got "https://a.example:99999/")',
            "8: webhooks[5].url: is missing (got nothing)",
        ],
    ),
    "one webhook twice": (
        "webhooks:\n- {url: 'https://a.example/'}\n- {url: 'https://b.example/'}\n- {url: 'https://a.example/'}",
        ['5: webhooks[2].url: stands twice; entry [0] has it too (got "https://a.example/")'],
    ),
    "smtps in the clear": (
        'routes: [{to: "*", via: "smtps://a.example", tls: none}]',
        ['2: routes[0].tls: contradicts smtps://, which is TLS; leave it out, or use smtp:// (got "none")'],
    ),
}


# Values that need what is not there yet. Each is refused with what to do instead.
NOT_YET = {
    "spool: postgresql://mta@db/mail": ("spool", "(a queue in PostgreSQL); name a folder"),
    "listen: [{address: 'localhost:1', legacy_tls: true}]": ("listen[0].legacy_tls", "(TLS 1.0 and 1.1); leave it out"),
    'routes: [{to: "*", via: mx, tls: dane}]': ("routes[0].tls", "(DANE); use none, may, require or verify"),
    "logins: {p: {user: u, oauth2: microsoft}}": ("logins.p.oauth2", "(OAuth2); leave it out"),
    "logins: {p: {user: u, token_file: t}}": ("logins.p.token_file", "(OAuth2); leave it out"),
    "dns: {trust_ad: true}": ("dns.trust_ad", "(DNSSEC); leave it out"),
}


def said(path: Path, text: str) -> list[str]:
    """What is said about a configuration, without the name of its file."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load(path, own_name="mail.example.org")
    assert str(error.value) == "\n".join(map(str, error.value.problems))
    return [line.removeprefix(f"{path}:") for line in str(error.value).splitlines()]


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_told(tmp_path: Path, name: str) -> None:
    added, expected = MISTAKES[name]
    assert said(tmp_path / "mta.yml", f"spool: spool\n{added}\n") == expected


@pytest.mark.parametrize("wrong", NOT_YET)
def test_value_that_needs_a_missing_feature_is_told(tmp_path: Path, wrong: str) -> None:
    key, text = NOT_YET[wrong]
    configuration = wrong if wrong.startswith("spool") else f"{wrong}\nspool: spool\n"
    [line] = said(tmp_path / "mta.yml", configuration)
    assert line.startswith(f"1: {key}: not available yet {text} (got ")


def test_spool_has_no_default(tmp_path: Path) -> None:
    assert said(tmp_path / "mta.yml", "history: 1d\n") == ["1: spool: is missing (got nothing)"]


def test_secret_in_the_wrong_place_is_not_shown(tmp_path: Path) -> None:
    lines = said(tmp_path / "mta.yml", "spool: s\nlogins: {p: {user: u, password: hunter2}}\n")
    assert lines == ['2: logins.p.password: is not a key here; did you mean "password_file"? (got "password")']


# What a file must be before its keys matter, and what is said when it is not.
FILES = {
    "empty": (b"", ":1: spool: is missing, as everything else; the file is empty (got nothing)"),
    "comments alone": (
        b"# spool: spool\n",
        ":1: spool: is missing, as everything else; the file is empty (got nothing)",
    ),
    "a list": (b"\n- spool\n", ":2: must hold a mapping, a `key: value` on each line"),
    "a text": (b"spool\n", ":1: must hold a mapping, a `key: value` on each line"),
    "not UTF-8": (b"spool: s\nhostname: m\xfcller\n", ":2: is not UTF-8 text"),
    "too large": (b"#" * 1024 * 1024 + b"#", ": is larger than 1MiB, as no configuration is"),
    "control characters": (b"spool: s\nhostname: \x07\n", ":2: is not YAML: control characters are not allowed"),
    "tab": (b"relay:\n\tdomains: []\n", ":2: is not YAML: indent with spaces, not with a tab"),
    "star": (
        b"routes:\n  - to: *\n    via: mx\n",
        ':2: is not YAML: a value that begins with * stands in quotes: "*"',
    ),
    "IPv6": (
        b"listen:\n  - address: [::]:25\n",
        ':2: is not YAML: an IPv6 address stands in quotes: "[::]:25", "::1"',
    ),
    "at": (b"hostname: @example\n", ":1: is not YAML: a value that begins with @, ` or % stands in quotes"),
    "bracket": (
        b"relay: {networks: [127.0.0.1}\n",
        ":1: is not YAML: did not find expected ',' or ']', while parsing a flow sequence",
    ),
    "two documents": (
        b"spool: s\n---\nspool: t\n",
        ":3: is not YAML: it holds a second document (---)",
    ),
    "anchor": (b"spool: &a s\n", ":1: is not YAML as it is used here: it has an anchor or an alias (& or *)"),
    "alias": (b"a: &a [s]\nb: *a\n", ":1: is not YAML as it is used here: it has an anchor or an alias (& or *)"),
    "tag": (b"spool: !!str s\n", ":1: is not YAML as it is used here: it has a tag (tag:yaml.org,2002:str)"),
    "list as key": (b"[a]: b\n", ":1: is not YAML as it is used here: it has a key that is not plain text"),
    "depth": (b"spool: " + b"[" * 30, ":1: is not YAML as it is used here: it is nested too deep"),
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_no_configuration_is_told(tmp_path: Path, name: str) -> None:
    content, expected = FILES[name]
    path = tmp_path / "mta.yml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(error.value) == f"{path}{expected}"


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "missing.yml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("/proc/self/mem"), "Input/output error"),
    ):
        with pytest.raises(ConfigError) as error:
            load(path)
        assert str(error.value) == f"{path}: cannot be read: {reason}"


CROWDS = {
    "keys": ("".join(f"k{number}: 1\n" for number in range(1_000)), ""),
    "keys of limits": ("limits:\n" + "".join(f"  k{number}: 1\n" for number in range(1_000)), ""),
    "words": ("listen:\n" + "".join("- {address: 127.0.0.1:1, tls: nune}\n" for _ in range(1_000)), ""),
    "keys of domains": ("directory: d.yml\n", "".join(f"d{number}.test: {{x: 1}}\n" for number in range(1_000))),
    "keys of accounts": ("accounts: d.yml\n", "".join(f"n{number}: {{x: 1}}\n" for number in range(1_000))),
}


@pytest.mark.parametrize("crowd", CROWDS)
def test_thousands_of_mistakes_are_a_hundred_lines_and_their_number(
    tmp_path: Path, crowd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes them slow is the search for a word that may have been meant, so it is counted."""
    searched = []

    def search(word: str, *more: object, **how: object) -> list[str]:
        searched.append(word)
        return []

    for module in ("problems", "accounts"):
        monkeypatch.setattr(f"mta.config.{module}.get_close_matches", search)
    text, other = CROWDS[crowd]
    (tmp_path / "mta.yml").write_text(f"spool: spool\n{text}")
    (tmp_path / "d.yml").write_text(other)
    with pytest.raises(ConfigError) as caught:
        check_files(load(tmp_path / "mta.yml", own_name="mail.example.org"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    told = [int(line.split(":")[1]) for line in lines[:-1]]
    assert told == sorted(told), "the first ones in the file"
    assert told[0] <= 3
    assert told[-1] <= 103
    assert lines[-1] == f"and {len(caught.value.problems) - 100:,} more"
    assert len(caught.value.problems) >= 1_000
    assert 0 < len(searched) <= 200
