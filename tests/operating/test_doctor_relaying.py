"""Who may relay, the mailboxes of a domain, and which domains are examined."""

from pathlib import Path

import pytest

from mta.config.load import load
from mta.config.model import Config
from mta.operating.doctor.examination import domain_in_ascii, domains_of
from mta.operating.doctor.finding import Level
from mta.operating.doctor.relaying import judge_mailboxes, judge_relaying


def configured(folder: Path, text: str, directory: str = "") -> Config:
    file = folder / "mta.yml"
    if directory:
        (folder / "directory.yml").write_text(directory)
        text += "directory: directory.yml\n"
    file.write_text(f"spool: spool\n{text}")
    return load(file)


@pytest.mark.parametrize(
    ("text", "level", "words"),
    [
        ("relay: {domains: [good.net]}\n", Level.OK, "mail to good.net alone is taken"),
        ("relay: {networks: [10.0.0.0/8]}\n", Level.OK, "for the postmaster alone"),
        ("relay: {networks: [11.0.0.0/12]}\n", Level.WARNING, "1,048,576 public addresses"),
        ("relay: {networks: [192.0.2.0/24]}\n", Level.PROBLEM, "a client at 192.0.2.1 may"),
        ("listen: [{address: 127.0.0.1:25, xclient: [11.1.2.3]}]\n", Level.WARNING, "a public address may say"),
        ("listen: [{address: 127.0.0.1:25, proxy_protocol: [11.1.2.0/24]}]\n", Level.WARNING, "256 public addresses"),
    ],
)
def test_who_may_send_anywhere(tmp_path: Path, text: str, level: Level, words: str) -> None:
    (finding,) = judge_relaying(configured(tmp_path, text))
    assert (finding.level, words in finding.seen) == (level, True), finding


@pytest.mark.parametrize(
    ("text", "directory", "levels"),
    [
        ("relay: {domains: [good.net]}\n", "", [Level.OK]),
        ("", "", [Level.NOTE]),
        ("relay: {domains: [good.net]}\n", "good.net: {mailboxes: {anne: {}}}\n", [Level.WARNING]),
        ("relay: {domains: [good.net]}\n", "good.net: {mailboxes: {abuse: {}}}\n", [Level.OK]),
        (
            "relay: {domains: [good.net]}\nroutes: [{to: good.net, via: 550 5.7.1 closed}]\n",
            "",
            [Level.PROBLEM, Level.WARNING],
        ),
    ],
)
def test_postmaster_and_abuse(tmp_path: Path, text: str, directory: str, levels: list[Level]) -> None:
    found = judge_mailboxes(configured(tmp_path, text, directory), "good.net")
    assert [one.level for one in found] == levels
    assert all(one.advice for one in found if one.level is not Level.OK)


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        ("relay: {domains: [good.net, .good.net, other.org]}\n", ("good.net", "other.org")),
        ("hostname: mail.good.net\n", ("good.net",)),
        ("hostname: good.net\n", ("good.net",)),
        ("hostname: mail\nrelay: {domains: [.good.net]}\n", ("mail",)),
    ],
)
def test_which_domains_are_examined(tmp_path: Path, text: str, domains: tuple[str, ...]) -> None:
    assert domains_of(configured(tmp_path, text)) == domains


@pytest.mark.parametrize(
    ("text", "domain"),
    [("Good.NET.", "good.net"), ("bücher.example", "xn--bcher-kva.example"), ("localhost", None), ("a b.net", None),
     ("11.1.2.3", None), ("", None), ("../x.net", None), (f"{'x' * 64}.net", None)],
)  # fmt: skip
def test_what_is_a_domain(text: str, domain: str | None) -> None:
    assert domain_in_ascii(text) == domain
