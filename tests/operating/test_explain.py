"""What is told of a mail: who may send it, who gets it, where it goes, when, and the line that says so."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from mta.config.load import load
from mta.config.model import Config
from mta.dns.memory import MemoryResolver, Name
from mta.operating.asking import ask
from mta.operating.explain import MOST_NAMES, MOST_SEARCHED, Explainer, Explanation, Host, Step, schedule
from mta.operating.explained import explanation_to_json, explanation_to_lines
from mta.parts import finder
from mta.policy.exchangers import Exchanger
from mta.policy.retry import RetryPolicy
from mta.spool.listing import Outlook

NOW = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
ZONES = {
    "up.test": Name(mx=[Exchanger(20, "second.up.test"), Exchanger(10, "first.up.test")]),
    "first.up.test": Name(a=["203.0.113.1", "0.0.0.0"], aaaa=["2001:db8::1"]),
    "second.up.test": Name(a=["203.0.113.2"]),
    "store.test": Name(a=["203.0.113.3"]),
}
CONFIGURATION = """\
hostname: relay.test
spool: spool
directory: directory.yml
accounts: accounts.yml
listen:
  - address: 192.0.2.1:25
  - address: 192.0.2.1:587
    auth: required
    plaintext_auth: [192.0.2.0/24]
relay:
  networks:
    - 192.0.2.0/24
    - 198.51.100.0/24
  domains: [ours.test]
routes:
  - to: ours.test
    via: lmtp://store.test
    name: store
  - from: "*@shop.test"
    via: smtp://203.0.113.9:587
    login: provider
    tls: verify
    eight_bit: send
  - to: gone.test
    via: 550 5.7.1 gone
  - to: noise.test
    via: discard
logins:
  provider: {user: shop, password_file: password}
limits: {message_size: 1MiB, recipients: 7}
"""
DIRECTORY = """\
ours.test:
  mailboxes:
    anna:
  aliases:
    office:
      - team
      - noise@noise.test
  lists:
    team: {members: [anna, joe@up.test, joe@gone.test], owner: anna}
"""
ACCOUNTS = """\
anna: {cram-md5: secret, senders: ["*@shop.test"]}
bert@ours.test: {cram-md5: secret}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return written(tmp_path)


def written(folder: Path, text: str = CONFIGURATION, directory: str = DIRECTORY) -> Config:
    (folder / "mta.yml").write_text(text)
    (folder / "directory.yml").write_text(directory)
    (folder / "accounts.yml").write_text(ACCOUNTS)
    (folder / "accounts.yml").chmod(0o600)
    return load(folder / "mta.yml")


def told(config: Config, address: str, look: Any = None, **asked: str) -> Explanation:
    """The explanation, with a DNS that answers at once."""
    clock = Clock()
    clock.rightNow = NOW
    finding = finder(config, MemoryResolver(clock, ZONES), Random(1))
    results: list[Any] = []
    explaining = Explainer(config).explain(ask(config, address, **asked), finding, NOW, look)
    ensureDeferred(explaining).addBoth(results.append)
    assert isinstance(results[0], Explanation), results[0].getTraceback()
    json.dumps(explanation_to_json(results[0]))
    return results[0]


def steps(explanation: Explanation) -> list[tuple[str, str]]:
    """What was decided, without where it stands."""
    return [(one.what, one.text) for one in explanation.steps]


def line_of(where: str) -> int:
    return int(where.rpartition(":")[2])


def test_who_may_send_anywhere_and_the_line_that_says_so(config: Config) -> None:
    by_network = told(config, "joe@up.test", client="198.51.100.7").steps[1]
    text = "198.51.100.7 is in 198.51.100.0/24 of relay.networks, and may send anywhere"
    assert by_network == Step("client", text, f"{config.sources.file}:13")
    by_login = told(config, "joe@up.test", client="203.0.113.250", account="bert@ours.test")
    assert by_login.is_accepted
    assert by_login.listener == "192.0.2.1:587"
    assert by_login.steps[1].text == "bert@ours.test, who may send anywhere, as anybody"
    assert by_login.question.sender == "bert@ours.test"


def test_a_stranger_may_send_to_relay_domains_alone(config: Config) -> None:
    taken = told(config, "anna@ours.test", client="203.0.113.250")
    assert taken.is_accepted
    assert ("relaying", "ours.test is in relay.domains") in steps(taken)
    refused = told(config, "joe@up.test", client="203.0.113.250")
    assert (refused.command, refused.reply.code, refused.ways, refused.schedule) == ("RCPT", 550, (), None)
    assert refused.steps[-1].text == "up.test is not in relay.domains, nor the client in relay.networks"


def test_an_account_may_send_as_whom_it_may(config: Config) -> None:
    usual = told(config, "joe@up.test", account="ANNA")
    assert usual.question.sender == "somebody@shop.test"
    assert ("sender", "anna may send as somebody@shop.test") in steps(usual)
    wrong = told(config, "joe@up.test", account="anna", sender="boss@ours.test")
    assert (wrong.command, str(wrong.reply)[:9]) == ("MAIL", "553 5.7.1")


def test_a_listener_that_wants_a_login_refuses_who_has_none(config: Config) -> None:
    refused = told(config, "anna@ours.test", listener="192.0.2.1:587")
    assert (refused.command, str(refused.reply)[:9]) == ("MAIL", "530 5.7.0")


def test_the_members_of_a_list_get_it_from_its_owner(config: Config) -> None:
    explanation = told(config, "office@ours.test", client="198.51.100.7")
    assert explanation.expanded == "alias"
    assert [(step.text, line_of(step.where)) for step in explanation.steps if step.what == "directory"] == [
        ("alias office@ours.test of 2 addresses", 5),
        ("list team@ours.test of 3, with bounces to anna@ours.test", 9),
        ("mailbox anna@ours.test", 3),
    ]
    file = config.sources.file
    ways = {way.recipients[0].address: way for way in explanation.ways}
    anna, joe, gone, noise = (
        ways[name] for name in (*("anna@ours.test", "joe@up.test"), "joe@gone.test", "noise@noise.test")
    )
    assert [way.reverse_path for way in (anna, joe, gone)] == ["anna@ours.test"] * 3
    assert noise.reverse_path == "somebody@relay.test"
    assert [way.end for way in (anna, joe, gone, noise)] == ["tried", "tried", "failed", "discarded"]
    assert anna.route == Step("route", "routes[0] (store): to ours.test", f"{file}:16")
    assert joe.route == Step("route", "no route matches: by MX of up.test")
    assert str(gone.reply) == "550 5.7.1 gone"
    assert noise.hop is None


def test_hosts_in_the_order_of_preference_with_their_addresses(config: Config) -> None:
    [way] = told(config, "joe@up.test", client="198.51.100.7").ways
    assert way.hop is not None
    assert way.hop.hosts == (
        Host("first.up.test", ("2001:db8::1", "203.0.113.1"), 25),
        Host("second.up.test", ("203.0.113.2",), 25),
    )
    assert way.hop.found == "MX of up.test: first.up.test (10), second.up.test (20)"
    assert way.hop.left_out == ("first.up.test: 0.0.0.0 is no host's address",)
    assert way.hop.tls == Step(
        "tls", "may: TLS where the host offers it, whatever its certificate; in the clear where that fails"
    )


def test_what_a_route_says_of_tls_login_and_eight_bits(config: Config) -> None:
    [way] = told(config, "joe@up.test", client="198.51.100.7", sender="me@shop.test").ways
    file, hop = config.sources.file, way.hop
    assert hop is not None
    assert hop.hosts == (Host("", ("203.0.113.9",), 587),)
    assert hop.tls == Step("tls", "verify: TLS or no delivery, and a certificate that is verified", f"{file}:22")
    assert hop.login == Step("login", "provider, as shop", f"{file}:29")
    assert (hop.eight_bit.text[:5], hop.eight_bit.where) == ("send:", f"{file}:23")


def test_a_domain_that_is_not_there(config: Config) -> None:
    explanation = told(config, "joe@nowhere.test", client="198.51.100.7")
    [way] = explanation.ways
    assert explanation.is_accepted
    assert (way.end, str(way.reply)) == ("failed", "550 5.1.2 the domain nowhere.test does not exist")
    assert explanation.schedule is None


def test_how_the_destination_stands_in_the_queue(config: Config) -> None:
    paused = Outlook(3, 1, NOW + 90, 4, "451 4.4.1 connection refused")
    explanation = told(config, "joe@up.test", look={"up.test": paused}.get, client="198.51.100.7")
    lines = {line.head.strip(): line.text for line in explanation_to_lines(explanation, NOW)}
    assert lines["queue"] == (
        "3 waiting, 1 held, paused until 2027-01-15T08:01:30.000Z (for 90s), not reached 4 times in a row, "
        "last reply: 451 4.4.1 connection refused"
    )
    queue = explanation_to_json(explanation)["ways"][0]["next_hop"]["queue"]
    assert queue["paused_until"] == "2027-01-15T08:01:30.000Z"
    assert "queue" not in {line.head.strip() for line in explanation_to_lines(told(config, "joe@up.test"), NOW)}


def test_when_it_is_tried_warned_of_and_given_up(config: Config) -> None:
    policy = RetryPolicy((5 * MINUTE, 10 * MINUTE, HOUR), warn=2 * HOUR, give_up=3 * HOUR)
    plan = schedule(policy, NOW)
    ages = [0, 5 * MINUTE, 15 * MINUTE, 75 * MINUTE, 135 * MINUTE, 180 * MINUTE]
    assert [at - NOW for at in plan.tries] == ages
    assert (plan.all_of_them, plan.warned, plan.given_up) == (True, NOW + 2 * HOUR, NOW + 3 * HOUR)
    many = schedule(RetryPolicy((1.0,), warn=None, give_up=5 * DAY), NOW)
    assert (len(many.tries), many.all_of_them, many.warned) == (100, False, None)
    explanation = told(config, "joe@up.test", client="198.51.100.7")
    lines = {line.head: line.text for line in explanation_to_lines(explanation, NOW)}
    assert lines["tried"].startswith("at once, then after 5m, 15m, 35m, 75m, 2h, 4h, 8h, 12h, ")
    assert lines["warned"] == "its sender is told of the delay after 4h, at 2027-01-15T12:00:00.000Z"
    assert lines["given up"] == "after 5d, at 2027-01-20T08:00:00.000Z, with the last try"
    assert lines["limits"] == "a message up to 1.0M (1,048,576 octets), 7 recipients"


def test_large_lists_are_looked_up_and_told_in_part(tmp_path: Path) -> None:
    members = ", ".join(f"joe{number}@d{number}.test" for number in range(50))
    config = written(tmp_path, directory=f"ours.test:\n  lists:\n    all: {{members: [{members}], owner: anna}}\n")
    explanation = told(config, "all@ours.test", client="198.51.100.7")
    hops = [way.hop for way in explanation.ways]
    assert len(hops) == 50
    assert [hop.searched for hop in hops if hop is not None] == [True] * MOST_SEARCHED + [False] * (50 - MOST_SEARCHED)
    lines = explanation_to_lines(explanation, NOW)
    assert "and 30 other ways; --json has all of them" in [line.text for line in lines]
    names = [f"a{number}" for number in range(MOST_NAMES + 4)]
    mailboxes = "".join(f"    {name}:\n" for name in names)
    directory = f"ours.test:\n  mailboxes:\n{mailboxes}  aliases:\n    all: [{', '.join(names)}]\n"
    wide = written(tmp_path, directory=directory)
    assert told(wide, "all@ours.test").steps[-1].text == "and 5 more names on the way"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"client": "somewhere"}, 'the client must be an IP address, or "unix"'),
        ({"account": "nobody"}, "there is no account nobody"),
        ({"listener": "192.0.2.1:26"}, "nothing listens on 192.0.2.1:26; there are 192.0.2.1:25, 192.0.2.1:587"),
        ({"account": "anna", "listener": "192.0.2.1:25"}, "nobody can log in on 192.0.2.1:25"),
    ],
)
def test_questions_that_make_no_sense(config: Config, asked: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        ask(config, "joe@up.test", **asked)


@pytest.mark.parametrize(
    "address", ["joe@a..b", "", "joe\x1b[2J@up.test", "joe@up.test\r\nDATA", "joe\udcff@up.test", "a" * 9000]
)
def test_what_is_no_address_is_refused_as_by_a_session(config: Config, address: str) -> None:
    explanation = told(config, address, client="198.51.100.7")
    assert explanation.reply.is_permanent
    for line in explanation_to_lines(explanation, NOW):
        assert line.text.isprintable()


def test_nobody_is_told_of_what_becomes_of_a_notice(config: Config) -> None:
    lines = explanation_to_lines(told(config, "joe@up.test", client="198.51.100.7", sender="<>"), NOW)
    assert ("warned", "nobody, since the reverse-path is null") in [(line.head, line.text) for line in lines]
    lines = explanation_to_lines(told(config, "joe@nowhere.test", client="198.51.100.7", sender="<>"), NOW)
    text = "joe@nowhere.test: fails, and nobody is told: 550 5.1.2 the domain nowhere.test does not exist"
    assert ("to", text) in [(line.head, line.text) for line in lines]


def test_the_null_reverse_path_and_a_unix_socket(config: Config) -> None:
    question = ask(config, "joe@up.test", sender="<>", client="unix")
    assert (question.sender, question.client) == ("", "")
    text = "a client on a Unix socket is in none of relay.networks, and may send to relay.domains alone"
    assert told(config, "joe@up.test", client="unix").steps[1].text == text


def test_letters_beyond_ascii_are_sent_with_smtputf8(config: Config) -> None:
    assert told(config, "josé@up.test", client="198.51.100.7").is_accepted


def test_a_client_is_taken_to_use_the_tls_that_a_listener_wants(tmp_path: Path) -> None:
    with_tls = CONFIGURATION.replace("    auth: required\n", "    auth: offered\n    tls: required\n")
    config = written(tmp_path, f"{with_tls}tls: {{certificate: a.pem, key: a.pem}}\n")
    explanation = told(config, "anna@ours.test", listener="192.0.2.1:587")
    assert explanation.is_accepted
    assert explanation.steps[0].text.startswith(
        "192.0.2.1:587; tls: required, which is taken to be used; auth: offered;"
    )
