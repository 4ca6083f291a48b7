"""The command line of sendmail, and the header that a program writes: what is understood, and what is refused."""

import io
import random
import time
from pathlib import Path

import pytest

from mta.cli.letter import BLOCK, LONGEST_HEADER, Letter, Unfit, addresses_in
from mta.cli.sendmail_words import ALIASES, LISTING, SESSION, Words, WrongWords, read_words
from mta.cli.submitting import Place
from mta.cli.whereabouts import WELL_KNOWN_PLACES, NoConfiguration, find_relay
from mta.smtp.opening import Security

CRON = "-i -FCronDaemon -B8BITMIME -oem root"


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("bob@there.test", Words(recipients=["bob@there.test"])),
        (CRON, Words(recipients=["root"], full_name="CronDaemon", dot_ends=False)),
        ("-FCronDaemon -odi -oem -oi -t -f root", Words(sender="root", full_name="CronDaemon", dot_ends=False,
                                                       from_header=True)),
        ("-ti", Words(from_header=True, dot_ends=False)),
        ("-it -fa@b.test", Words(from_header=True, dot_ends=False, sender="a@b.test")),
        ("-i -f a@b.test -- -x@y.test", Words(dot_ends=False, sender="a@b.test", recipients=["-x@y.test"])),
        ("a@b.test -f c@d.test", Words(recipients=["a@b.test"], sender="c@d.test")),
        ("-r c@d.test -em -m -n -s -U -G -h 3 -p smtp -L tag -X /dev/null -O x=y -Ac a", Words(sender="c@d.test",
                                                                                              recipients=["a"])),
        ("-bm -q30m -d0-99.1 -v a", Words(recipients=["a"], verbose=True, flush=True)),
        ("-q", Words(flush=True)),
        ("-bs", Words(mode=SESSION)),
        ("-b p", Words(mode=LISTING)),
        ("-bi", Words(mode=ALIASES)),
        ("-I", Words(mode=ALIASES)),
        ("-N never a", Words(notify="NEVER", recipients=["a"])),
        ("-Nsuccess,failure -R hdrs -V id7 a", Words(notify="SUCCESS,FAILURE", ret="HDRS", envid="id7",
                                                     recipients=["a"])),
        ("--config x.yml a", Words(config="x.yml", recipients=["a"])),
        ("--config=x.yml -", Words(config="x.yml", recipients=["-"])),
        ("-Cx.yml", Words(config="x.yml")),
    ],
)  # fmt: skip
def test_it_understands(words: str, asked: Words) -> None:
    assert read_words(words.split()) == asked


def test_an_empty_sender_is_the_null_one() -> None:
    assert read_words(["-f", "", "a"]) == Words(sender="", recipients=["a"])


@pytest.mark.parametrize(("name", "mode"), [("mailq", LISTING), ("/usr/bin/newaliases", ALIASES)])
def test_a_name_is_a_mode(name: str, mode: str) -> None:
    assert read_words([], name).mode == mode


@pytest.mark.parametrize("words", ["-Z", "-f", "-bd", "-bt", "-N sometimes", "-R all", "--nonsense", "-i -F", "-tZ"])
def test_it_refuses(words: str) -> None:
    with pytest.raises(WrongWords):
        read_words(words.split())


def text_of(letter: Letter) -> bytes:
    octets = b"".join(letter.blocks())
    assert octets == b"".join(letter.blocks())  # it can be read again
    return octets


def read(octets: bytes, dot_ends: bool = True) -> Letter:
    return Letter(io.BytesIO(octets), dot_ends, io.BytesIO())


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (b"Subject: x\n\nbody\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject: x\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject: x\n\nbody", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject: x", b"Subject: x\r\n\r\n"),
        (b"", b"\r\n"),
        (b"just words\nand more\n", b"\r\njust words\r\nand more\r\n"),
        (b"From a@b Mon Nov 29\nSubject: x\n\nb\n", b"Subject: x\r\n\r\nb\r\n"),
        (b"Subject: x\nno field\nb\n", b"Subject: x\r\n\r\nno field\r\nb\r\n"),
        (b"Subject: x\n folded\n\tmore\n\nb\n", b"Subject: x\r\n folded\r\n\tmore\r\n\r\nb\r\n"),
        (b"S: x\n\none\n.\ntwo\n", b"S: x\r\n\r\none\r\n"),
        (b"S: x\n\none\r\n.\r\ntwo\n", b"S: x\r\n\r\none\r\n"),
        (b"S: x\n\none\n.", b"S: x\r\n\r\none\r\n"),
        (b"S: x\n\none\n..\n .\n", b"S: x\r\n\r\none\r\n..\r\n .\r\n"),
        (b"S: x\n\none\rtwo\n", b"S: x\r\n\r\none\r\ntwo\r\n"),
        (b"S: x\r\r\nb\n", b"S: x\r\n\r\nb\r\n"),
        (b"S: x\n\n\n\nb\n", b"S: x\r\n\r\n\r\n\r\nb\r\n"),
    ],
)
def test_lines_and_header_are_made_whole(written: bytes, sent: bytes) -> None:
    letter = read(written)
    assert text_of(letter) == sent
    assert letter.size == len(sent)


def test_with_i_a_dot_is_a_line_like_others() -> None:
    assert text_of(read(b"S: x\n\none\n.\ntwo\n", dot_ends=False)) == b"S: x\r\n\r\none\r\n.\r\ntwo\r\n"


@pytest.mark.parametrize("length", range(BLOCK - 3, BLOCK + 3))
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_long_lines_are_cut_nowhere(length: int, end: bytes) -> None:
    written = b"S: x\n\n" + b"y" * length + end + b".z" + end
    assert text_of(read(written)) == b"S: x\r\n\r\n" + b"y" * length + b"\r\n.z\r\n"
    assert text_of(read(b"S: " + b"y" * length + end + b"\n")) == b"S: " + b"y" * length + b"\r\n\r\n"
    assert text_of(read(b"S: x\n\n" + b"y" * length + b".\nz\n")) == b"S: x\r\n\r\n" + b"y" * length + b".\r\nz\r\n"


def test_whatever_is_written_no_line_end_stands_alone() -> None:
    chance = random.Random(7)
    for _ in range(300):
        written = b"".join(
            chance.choices([b"\r", b"\n", b".", b"a", b": ", b" ", b"To", b"\xff"], k=chance.randint(0, 30))
        )
        sent = text_of(read(written, dot_ends=False))
        assert sent.count(b"\r") == sent.count(b"\n") == sent.count(b"\r\n"), written
        assert sent.replace(b"\r\n", b"").replace(b"a", b"a") == written.replace(b"\r", b"").replace(b"\n", b"")


@pytest.mark.parametrize(
    ("written", "to", "left"),
    [
        (b"To: a@b.test\nCc: c@d.test\nBcc: e@f.test\n\n", ["a@b.test", "c@d.test", "e@f.test"],
         b"To: a@b.test\r\nCc: c@d.test\r\n"),
        (b"to: A <a@b.test>,\n (x, y) \"q, r\" <c@d.test>\n\n", ["a@b.test", "c@d.test"], None),
        (b"To: friends: a@b.test, c@d.test;\n\n", ["a@b.test", "c@d.test"], None),
        (b"To: undisclosed-recipients:;\nBCC : e@f.test\n\n", ["e@f.test"], b"To: undisclosed-recipients:;\r\n"),
        (b"To: root\n\n", ["root"], None),
        (b"To: a@b.test\nResent-To: c@d.test\nResent-Bcc: e@f.test\nBcc: g@h.test\n\n", ["c@d.test", "e@f.test"],
         b"To: a@b.test\r\nResent-To: c@d.test\r\n"),
        (b"To: \"a b\"@c.test\n\n", ['"a b"@c.test'], None),
        ("To: Jos\u00e9 <jos\u00e9@d\u00e9j\u00e0.test>\n\n".encode(), ["jos\u00e9@d\u00e9j\u00e0.test"], None),
        (b"Bcc:\n a@b.test\n\nbody\n", ["a@b.test"], None),
        (b"To:\n\n", [], None),
        (b"To: a@b.test\rBcc: c@d.test", ["a@b.test", "c@d.test"], b"To: a@b.test\r\n"),
    ],
)  # fmt: skip
def test_recipients_come_from_the_header_and_bcc_goes(written: bytes, to: list[str], left: bytes | None) -> None:
    letter = read(written)
    assert letter.recipients() == to
    if left is not None:
        assert text_of(letter) == left + b"\r\n"
    assert b"bcc" not in text_of(letter).lower()


@pytest.mark.parametrize(
    "value",
    [
        "a@b.test c@d.test",
        "a@@b.test",
        "<a@b.test>\x1b[2J",
        "@b.test",
        "a" * 65,
        "a@" + "b" * 260,
        "alice@example.org)bob@evil.test",
        "(nobody)",
        "(" * 5000,
        "x:" * 5000,
        ",(" * 5000,
        "a@b(" * 5000,
        "<" * 100_000,
        '"' * 100_000,
    ],
)
def test_what_is_no_address_is_refused_with_a_word_and_in_time(value: str) -> None:
    begun = time.process_time()
    with pytest.raises(Unfit) as refused:
        addresses_in(value, "To")
    assert time.process_time() - begun < 1
    assert str(refused.value).startswith("To: ")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_a_header_without_end_is_not_looked_at_but_sent() -> None:
    written = b"S: x\r\n" * (LONGEST_HEADER // 6 + 2)
    letter = read(written)
    letter.add_from("a@b.test", "")
    assert text_of(letter) == written
    with pytest.raises(Unfit):
        letter.recipients()


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("", b"From: a@b.test\r\n"),
        ("Ann Other", b"From: Ann Other <a@b.test>\r\n"),
        ('Ann "X" O., jr', b'From: "Ann \\"X\\" O., jr" <a@b.test>\r\n'),
        ("Andr\u00e9", b"From: =?utf-8?b?QW5kcsOp?= <a@b.test>\r\n"),
        ("Ann\r\nBcc: x@y.test", b'From: "Ann Bcc: x@y.test" <a@b.test>\r\n'),
        ("Ann\x00\x1b[2J", b'From: "Ann[2J" <a@b.test>\r\n'),
    ],
)
def test_from_is_added_where_it_lacks(name: str, field: bytes) -> None:
    letter = read(b"Subject: x\n\nb\n")
    letter.add_from("a@b.test", name)
    assert text_of(letter) == field + b"Subject: x\r\n\r\nb\r\n"
    other = read(b"FROM : c@d.test\n\nb\n")
    other.add_from("a@b.test", name)
    assert text_of(other) == b"FROM : c@d.test\r\n\r\nb\r\n"


def test_the_configuration_says_where_the_relay_is(tmp_path: Path) -> None:
    (tmp_path / "mta.yml").write_text(
        "hostname: relay.test\nspool: /var/queue\ndirectory: not-for-you.yml\ntls: {certificate: a, key: b}\n"
        "accounts: not-for-you-either.yml\n"
        "listen:\n"
        "  - {address: '192.0.2.1:25'}\n"
        "  - {address: '127.0.0.1:26', auth: required}\n"
        "  - {address: '127.0.0.1:27', proxy_protocol: [127.0.0.0/8]}\n"
        "  - {address: '0.0.0.0:28', tls: required}\n"
        "  - {address: '[::]:29'}\n"
        "  - {address: '127.0.0.1:465', tls: implicit}\n"
        "  - {address: 'unix:/run/mta/smtp'}\n"
    )
    where = find_relay("mta.yml", {}, tmp_path)
    assert (where.hostname, where.drops) == ("relay.test", (Path("/var/queue/drop"),))
    assert where.places == (
        Place("127.0.0.1", 28, security=Security(wanted=True, required=True)),
        Place("::1", 29),
        Place("127.0.0.1", 465, security=Security(implicit=True)),
        Place("", 0, "/run/mta/smtp"),
    )
    assert find_relay(None, {"MTA_CONFIG": str(tmp_path / "mta.yml")}) == where
    (tmp_path / "mta.yml").write_text("spool: /x\nrelay: {networks: [192.0.2.0/24]}\n")
    assert find_relay("mta.yml", {}, tmp_path).places == ()  # programs here may send by the drop folder alone


def test_a_configuration_that_is_named_must_be_good(tmp_path: Path) -> None:
    for text in (None, "nonsense: 1\n"):
        if text is not None:
            (tmp_path / "mta.yml").write_text(text)
        with pytest.raises(NoConfiguration):
            find_relay("mta.yml", {}, tmp_path)


@pytest.mark.parametrize("text", ["nonsense: 1\n", "spool: [\n", None])
def test_else_the_well_known_places_are_tried(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "system.yml").write_text(text)
    where = find_relay(None, {}, tmp_path, tmp_path / "system.yml")
    assert (where.places, where.file) == (WELL_KNOWN_PLACES, None)


def test_a_configuration_beside_is_believed_only_from_who_may_say_so(tmp_path: Path) -> None:
    here = tmp_path / "etc" / "mta.yml"
    here.parent.mkdir()
    here.write_text("spool: /x\n")
    assert find_relay(None, {}, tmp_path, tmp_path / "none").file == here
    for other in (here, here.parent):
        mode = other.stat().st_mode
        other.chmod(0o777)
        assert find_relay(None, {}, tmp_path, tmp_path / "none").file is None
        other.chmod(mode)
    assert find_relay(None, {}, tmp_path, tmp_path / "none").file == here
    here.rename(tmp_path / "mta.yml")
    here.symlink_to(tmp_path / "mta.yml")
    assert find_relay(None, {}, tmp_path, tmp_path / "none").file is None
