"""What slows guessing, what is remembered, what is logged, and a file of accounts that changes."""

import configparser
import re
from pathlib import Path

import pytest
from login_ground import INSIDE_TLS, PASSWORD, Ground, Inline, alice, quick_hash, refusal
from set_clock import SetClock
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.auth import guessing
from mta.auth.guessing import BY_ADDRESS, FORGOTTEN, LONGEST_DELAY, WITH_ACCOUNT, Guessing, network_of
from mta.auth.judge import Judge
from mta.auth.passwords import decoy, is_right, kept
from mta.logins import Challenge, LoggedIn, LoginFrom
from mta.maillog import MailLog
from mta.policy.account import Account
from mta.smtp import replies
from mta.smtp.reply import Reply

ROOT = Path(__file__).resolve().parents[2]
SLOWED = "454 4.7.0 too many logins from your address have failed; try again in a few minutes"
UNAVAILABLE = "454 4.7.0 logins cannot be checked now; try again later"
WRONG = "535 5.7.8 the name or the password is wrong"


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path, alice(), Account("bob", quick_hash("secret")))


def at(number: int) -> LoginFrom:
    return INSIDE_TLS._replace(address=f"198.51.100.{number}")


# ---- Guessing, by itself


def fails(brakes: Guessing, address: str, account: str, now: float) -> float | None:
    attempt = brakes.begin(address, account, now)
    return None if attempt is None else attempt.delay


def test_delays_grow_and_then_nothing_is_checked_for_a_while() -> None:
    brakes = Guessing()
    delays = [fails(brakes, "192.0.2.7", "alice", 1000.0) for _ in range(12)]
    assert delays == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, None, None]
    assert fails(brakes, "192.0.2.7", "bob", 1000.0) is not None
    assert fails(brakes, "192.0.2.7", "alice", 1000.0 + FORGOTTEN) is None
    assert fails(brakes, "192.0.2.7", "alice", 1001.0 + FORGOTTEN) == 0


def test_where_others_count_too_half_as_much_is_allowed() -> None:
    brakes = Guessing(several=True)
    delays = [fails(brakes, "192.0.2.7", "alice", 1000.0) for _ in range(7)]
    assert delays == [0, 0, 1, 2, 4, None, None]
    many = [fails(brakes, "192.0.2.8", f"name{number}", 1000.0) for number in range(30)]
    assert many[:6] == [0, 0, 0, 0, 0, 1]
    assert many[24] is not None
    assert many[25:] == [None] * 5


def test_a_clock_that_is_set_back_keeps_nobody_out_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SetClock(monkeypatch, 1000.0)
    brakes = Guessing()
    judge = Judge(clock, Inline(), None, None, b"key", brakes)
    while fails(brakes, at(7).address, "alice", clock.seconds()) is not None:
        pass
    refused = Deferred.fromCoroutine(judge.admit(at(7), "alice"))
    assert refused.addErrback(lambda failure: failure.value.reply).result == replies.LOGIN_SLOWED
    clock.set(-86_400.0)
    clock.advance(FORGOTTEN + 1)
    assert Deferred.fromCoroutine(judge.admit(at(7), "alice")).result.delay == 0


def test_an_account_alone_is_never_locked() -> None:
    brakes = Guessing()
    for number in range(200):
        for _ in range(20):
            fails(brakes, f"198.51.100.{number}", "alice", 1000.0)
    assert fails(brakes, "192.0.2.7", "alice", 1000.0) == 0


def test_an_address_that_tries_many_names_is_slowed() -> None:
    brakes = Guessing()
    delays = [fails(brakes, "192.0.2.7", f"user{number}", 1000.0) for number in range(BY_ADDRESS.most + 1)]
    assert delays[: BY_ADDRESS.free] == [0.0] * BY_ADDRESS.free
    assert delays[-1] is None
    assert delays[-2] == LONGEST_DELAY
    assert fails(brakes, "192.0.2.8", "user1", 1000.0) == 0


def test_ipv6_counts_by_64_bits() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("") == ""


def test_many_at_once_are_no_way_around_it() -> None:
    """None of these has been judged when the next one begins."""
    brakes = Guessing()
    begun = [brakes.begin("192.0.2.7", "alice", 1000.0) for _ in range(100)]
    assert sum(attempt is not None for attempt in begun) == WITH_ACCOUNT.most


def test_who_has_logged_in_there_is_not_slowed_by_neighbours() -> None:
    brakes = Guessing()
    attempt = brakes.begin("192.0.2.7", "alice", 1000.0)
    assert attempt is not None
    brakes.succeeded(attempt, 1000.0)
    for number in range(200):
        fails(brakes, "192.0.2.7", f"user{number}", 1000.0)
    assert fails(brakes, "192.0.2.7", "user", 1000.0) is None
    assert fails(brakes, "192.0.2.7", "alice", 1000.0) == 0


def test_an_account_of_ones_own_does_not_wipe_out_guesses_at_others() -> None:
    brakes = Guessing()
    for number in range(BY_ADDRESS.most):
        fails(brakes, "192.0.2.7", f"user{number}", 1000.0)
        own = brakes.begin("192.0.2.7", "mallory", 1000.0)
        if own is not None:
            brakes.succeeded(own, 1000.0)
    assert fails(brakes, "192.0.2.7", "alice", 1000.0) is None


def test_what_could_not_be_checked_does_not_count() -> None:
    brakes = Guessing()
    for _ in range(100):
        attempt = brakes.begin("192.0.2.7", "alice", 1000.0)
        assert attempt is not None
        assert attempt.delay == 0
        brakes.unknown(attempt)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "_MOST_KEPT", 5)
    brakes = Guessing()
    for number in range(50):
        attempt = brakes.begin(f"192.0.2.{number}", "alice", 1000.0)
        assert attempt is not None
        brakes.succeeded(attempt, 1000.0)
        fails(brakes, f"192.0.2.{number}", "bob", 1000.0)
    assert [len(kept) for kept in (brakes._networks, brakes._pairs, brakes._trusted)] == [5, 5, 5]


# ---- Guessing, over a whole login


def test_failed_logins_take_longer_and_longer(ground: Ground) -> None:
    took = []
    for _ in range(WITH_ACCOUNT.most):
        before = ground.clock.seconds()
        assert refusal(ground.plain("bob", "wrong")) == WRONG
        took.append(ground.clock.seconds() - before)
    assert took == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]
    checked = ground.threads.done
    assert refusal(ground.plain("bob", "secret")) == SLOWED
    assert ground.threads.done == checked
    assert ground.plain("bob", "secret", at(1)) == LoggedIn("bob")
    ground.clock.advance(FORGOTTEN + 1)
    assert ground.plain("bob", "secret") == LoggedIn("bob")


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "SCRAM-SHA-256", "LOGIN"])
def test_other_mechanisms_are_no_way_around_it(ground: Ground, mechanism: str) -> None:
    for _ in range(WITH_ACCOUNT.most):
        ground.plain("bob", "wrong")
    responses = {
        "CRAM-MD5": (None, b"bob 00"),
        "LOGIN": (b"bob", b"secret"),
        "SCRAM-SHA-256": (b"n,,n=bob,r=x", b"c=biws,r=x3rfcNHYJ,p=AAAA"),
    }[mechanism]
    assert refusal(ground.login(mechanism, *responses)) == SLOWED


def test_stopping_lets_nobody_wait(ground: Ground) -> None:
    for _ in range(5):
        ground.plain("bob", "wrong")
    exchange = ground.begin("PLAIN")
    words: list[object] = []
    exchange.respond(b"\0bob\0secret").addBoth(words.append)
    assert words == []
    ground.auth.stop()
    assert [refusal(word) for word in words] == [UNAVAILABLE]
    assert ground.clock.getDelayedCalls() == []


# ---- What is remembered


def test_a_login_that_was_right_is_not_checked_again_for_ten_minutes(ground: Ground) -> None:
    for _ in range(5):
        assert isinstance(ground.plain("bob", "secret"), LoggedIn)
    assert ground.threads.done == 1
    assert refusal(ground.plain("bob", "Secret")) == WRONG
    assert ground.threads.done == 2
    ground.clock.advance(599)
    assert isinstance(ground.plain("bob", "secret"), LoggedIn)
    assert ground.threads.done == 2
    ground.clock.advance(2)
    assert isinstance(ground.plain("bob", "secret"), LoggedIn)
    assert ground.threads.done == 3


def test_a_password_that_is_no_longer_right_is_not_remembered(ground: Ground) -> None:
    assert isinstance(ground.plain("bob", "secret"), LoggedIn)
    ground.write(Account("bob", quick_hash("new")))
    ground.clock.advance(1)
    assert refusal(ground.plain("bob", "secret")) == WRONG
    assert isinstance(ground.plain("bob", "new"), LoggedIn)


def test_a_remembered_login_needs_no_thread(ground: Ground) -> None:
    assert isinstance(ground.plain("bob", "secret"), LoggedIn)
    ground.threads.busy = True
    assert isinstance(ground.plain("bob", "secret", at(9)), LoggedIn)
    assert refusal(ground.plain("bob", "other")) == UNAVAILABLE
    assert ground.logged[-1][0] == "login-not-checked"


def test_no_password_is_kept_in_memory(ground: Ground) -> None:
    ground.plain("bob", "secret")
    remembered = ground.auth._judge._remembered
    assert b"secret" not in repr(vars(remembered)["_until"]).encode()
    assert len(remembered._until) == 1


# ---- Passwords


def test_every_form_checks_a_password() -> None:
    whole = kept("a", "pencil", recoverable=True)
    forms = (
        Account("a", argon2=quick_hash("pencil")),
        Account("a", scram_sha_1=whole.scram_sha_1),
        Account("a", scram_sha_256=whole.scram_sha_256),
        Account("a", cram_md5="pencil"),
    )
    for account in forms:
        assert is_right(account, "pencil")
        assert not is_right(account, "pencils")
        assert not is_right(decoy([account]), "pencil")
    assert not is_right(Account("a"), "")
    assert whole.argon2.startswith("$argon2id$")


def test_a_decoy_costs_what_the_accounts_cost() -> None:
    like = quick_hash("pencil")
    assert decoy([Account("a", like)]).argon2.split("$")[:4] == like.split("$")[:4]
    assert decoy([]).argon2.split("$")[3] == kept("a", "x").argon2.split("$")[3]


# ---- The file


def test_a_changed_file_counts_within_a_second(ground: Ground) -> None:
    assert refusal(ground.plain("carol", "x")) == WRONG
    ground.write(Account("carol", quick_hash("x")))
    ground.clock.advance(1)
    assert ground.plain("carol", "x") == LoggedIn("carol")
    assert refusal(ground.plain("bob", "secret")) == WRONG
    assert ground.auth.mechanisms(INSIDE_TLS) == ("PLAIN", "LOGIN")


@pytest.mark.parametrize("broken", ["bob: {argon2: x}\n", "\tbob", None])
def test_a_broken_file_keeps_what_was_known_and_says_why_once(ground: Ground, broken: str | None) -> None:
    if broken is None:
        ground.path.unlink()
    else:
        ground.path.write_text(broken)
    for _ in range(3):
        ground.clock.advance(1)
        assert ground.plain("bob", "secret") == LoggedIn("bob")
    [(kind, fields)] = ground.logged
    assert kind == "accounts-not-read"
    assert fields["why"].startswith(f"{ground.path}: cannot be read" if broken is None else f"{ground.path}:1: ")
    ground.write(Account("carol", quick_hash("x")))
    ground.clock.advance(1)
    assert ground.plain("carol", "x") == LoggedIn("carol")


# ---- The log


def test_a_failed_login_is_one_line_without_the_secret(ground: Ground) -> None:
    ground.plain("bob", "hunter2")
    ground.login("PLAIN", b"hunter2")
    assert ground.logged == [
        ("login-failed", {"client": "192.0.2.7", "mechanism": "PLAIN", "account": "bob", "why": "wrong password"}),
        (
            "login-failed",
            {
                "client": "192.0.2.7",
                "mechanism": "PLAIN",
                "account": "",
                "why": "malformed: not [authorization identity] NUL name NUL password",
            },
        ),
    ]


def test_a_bug_costs_one_login(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError(name)

    monkeypatch.setattr(ground.accounts, "find", broken)
    assert refusal(ground.plain("bob", "secret")) == UNAVAILABLE


def test_no_exchange_goes_on_for_ever(ground: Ground) -> None:
    exchange = ground.begin("LOGIN")
    assert isinstance(ground.word(exchange, None), Challenge)
    exchange._rounds = 20  # type: ignore[attr-defined]
    assert isinstance(ground.word(exchange, b"x"), Reply)


def fail2ban() -> tuple[re.Pattern[str], list[re.Pattern[str]]]:
    """The date pattern and the patterns of our filter, as fail2ban makes them."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "etc" / "fail2ban" / "filter.d" / "mta.conf")
    definition = parser["Definition"]
    date = definition["datepattern"]
    for sign, meaning in (
        ("%Y-%m-%d", r"\d{4}-\d\d-\d\d"),
        ("%H:%M:%S", r"\d\d:\d\d:\d\d"),
        ("%f", r"\d{1,6}"),
        ("%z", "Z"),
    ):
        assert sign in date
        date = date.replace(sign, meaning)
    lines = definition["failregex"].strip().splitlines()
    return re.compile(date), [re.compile(line.replace("<ADDR>", r"(?P<ip>[0-9a-fA-F.:]+)")) for line in lines]


def banned(line: str) -> list[str]:
    """Whom fail2ban would count a line against."""
    date, patterns = fail2ban()
    found = date.search(line)
    if found is None:
        return []
    rest = line[: found.start()] + line[found.end() :]
    return [match["ip"] for pattern in patterns if (match := pattern.search(rest))]


FORGED = (
    "alice",
    "",
    "client=198.51.100.9",
    "x client=198.51.100.9 ",
    "x\n2026-11-23T10:00:00.000Z - login-failed client=198.51.100.9 ",
    'x" - login-failed client=198.51.100.9 "',
    '", "id": "-", "event": "login-failed", "client": "198.51.100.9"}',
    "x\u2028- login-failed client=198.51.100.9",
)


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("account", FORGED)
@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_fail2ban_counts_the_client_whatever_it_calls_itself(style: str, account: str, address: str) -> None:
    lines: list[str] = []
    clock = Clock()
    clock.advance(1_800_000_000.5)
    log = MailLog(lines.append, clock, style)
    fields = {"client": address, "mechanism": "PLAIN", "account": account, "why": "wrong password"}
    log.event("login-failed", **fields)
    [line] = lines
    assert len(line.splitlines()) == 1
    assert banned(line) == [address]
    for kind in ("login", "login-not-checked"):
        log.event(kind, **fields)
        assert banned(lines[-1]) == []


def test_what_fail2ban_reads_is_what_is_logged(ground: Ground) -> None:
    lines: list[str] = []
    ground.plain(FORGED[4].replace("\n", " "), PASSWORD)
    for kind, fields in ground.logged:
        MailLog(lines.append, ground.clock).event(kind, **fields)
    assert [banned(line) for line in lines] == [["192.0.2.7"]]


@pytest.mark.parametrize("account", ["alice@example.org", "alice"])
def test_accounts_are_hashed_where_addresses_are(account: str) -> None:
    lines: list[str] = []
    MailLog(lines.append, Clock(), addresses="hashed").event("login-failed", client="192.0.2.7", account=account)
    assert "alice" not in lines[0]
    assert banned(lines[0]) == ["192.0.2.7"]
