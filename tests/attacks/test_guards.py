"""What these tests are worth: without one guard the attack that it is there for succeeds, and its test fails."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest
import test_01_smuggling_in
import test_02_smuggling_out
import test_03_smuggling_through
import test_04_commands_behind_starttls
import test_05_replies_behind_starttls
import test_06_starttls_stripped
import test_07_login_before_tls
import test_08_other_protocols
import test_10_bdat_lies
import test_11_endless
import test_12_size_lies
import test_13_failing_disk
import test_14_killed_while_taking
import test_15_killed_before_the_note
import test_16_stale_worker
import test_17_open_relay
import test_18_loops
import test_20_bounce_of_a_bounce
import test_21_injection
import test_23_spool_links
import test_24_secrets
import test_25_hostile_dns
import test_26_hostile_peer
import test_28_password_guessing
import test_30_clock_jumps
from carry_world import HOP
from clockwork import DAY, NO_SUCH_USER
from simulated.lives.bugs import planted
from spools import SqliteWorld, clock_at_start

from mta.auth.guessing import Guess
from mta.logins import LoginFrom
from mta.policy.settlement import Addressee
from mta.smtp import answers, content
from mta.spool import database, settling
from mta.transports.search import Search

connect = database._connect


def careless(*arguments: Any) -> apsw.Connection:
    """A queue file that nobody waits for to be on the disk."""
    db = connect(*arguments)
    db.execute("PRAGMA synchronous = OFF")
    return db


class Guard(NamedTuple):
    """where: the guard's dotted name; instead: what stands there without it. attack: the test, and what it is given."""

    where: str
    instead: Any
    attack: Callable[..., None]
    given: tuple[Any, ...] = ()


FOLDER = object()
"""Stands for an empty folder in what a test is given."""
PATCH = object()
"""Stands for pytest's `monkeypatch`."""

GUARDS = {
    "1: bare line ends are seen": Guard(
        "mta.smtp.content._has_whole_line_ends",
        lambda block: True,
        test_01_smuggling_in.test_it_is_one_content_and_refused,
        (FOLDER, b"\r\n.\n", 0),
    ),
    "2: dots are doubled": Guard(
        "mta.smtp.client.stuff",
        lambda blocks, dotted: content.stuff(blocks, False),
        test_02_smuggling_out.test_one_end_for_every_size_of_block,
        (b"a\r\n.\r\nMAIL FROM:<evil@client.example.com>\r\n",),
    ),
    "2: a dot behind NUL counts": Guard(
        "mta.smtp.content._doubled_behind_nul",
        lambda blocks: blocks,
        test_02_smuggling_out.test_nor_for_a_reader_that_leaves_out_nul,
        (b"a\r\n\0.\r\nMAIL FROM:<evil@client.example.com>\r\n",),
    ),
    "3: bare line ends are put right": Guard(
        "mta.smtp.content._with_whole_line_ends",
        lambda block: block,
        test_03_smuggling_through.test_of_what_was_put_right,
        (FOLDER, b"\n.\n", 3),
    ),
    "4: what waits behind STARTTLS is thrown away": Guard(
        "mta.smtp.framing.LineReader.clear",
        lambda self: None,
        test_04_commands_behind_starttls.test_half_a_line_is_not_completed_inside,
        (FOLDER,),
    ),
    "5: what waits behind the 220 ends the session": Guard(
        "mta.smtp.answers.AnswerReader.is_empty",
        True,
        test_05_replies_behind_starttls.test_the_session_ends_and_nothing_was_said,
        (b"2", HOP),
    ),
    "6: where TLS is required nothing falls back": Guard(
        "mta.transports.opener.may_fall_back",
        lambda hop: True,
        test_06_starttls_stripped.test_the_mail_waits_and_says_why,
        ({"EHLO": test_06_starttls_stripped.WITHOUT}, test_06_starttls_stripped.REQUIRE),
    ),
    "7: passwords are for TLS": Guard(
        "mta.inbound.visitor.LoginFrom",
        lambda address, tls, plaintext, *more: LoginFrom(address, tls, True, *more),
        test_07_login_before_tls.test_it_is_refused_before_any_secret_is_asked_for,
        (FOLDER, "AUTH PLAIN", "offered"),
    ),
    "8: HTTP is known": Guard(
        "mta.smtp.server.is_not_mail",
        lambda verb: False,
        test_08_other_protocols.test_a_form_whose_fields_are_commands,
        (FOLDER,),
    ),
    "10: the octets of a refused chunk are consumed": Guard(
        "mta.smtp.server.octets_announced",
        lambda line: 0,
        test_10_bdat_lies.test_the_octets_of_a_refused_chunk_are_consumed,
        (FOLDER, [], b"BDAT %d LAST", "503", 0),
    ),
    "10: chunks have the time of one content": Guard(
        "mta.smtp.server.ServerSession.content_has_begun",
        property(lambda self: self.in_content),
        test_10_bdat_lies.test_small_chunks_now_and_then_do_not_hold_a_session,
        (FOLDER,),
    ),
    "11: replies have an end": Guard(
        "mta.smtp.answers.LINES_LIMIT", 10**9, test_11_endless.test_a_reply_of_endless_lines, ()
    ),
    "12: content has a limit": Guard(
        "mta.smtp.server.ContentReader",
        lambda bare_lf, limit: content.ContentReader(bare_lf, 0),
        test_12_size_lies.test_announced_small_and_sent_large,
        (FOLDER, PATCH),
    ),
    "15: what was being tried is remembered": Guard(
        "mta.spool.settling.recover",
        lambda store: settling.release_all(store) or 0,
        test_15_killed_before_the_note.test_a_copy_more_for_each_reply_that_was_interrupted_and_all_are_counted,
        (FOLDER,),
    ),
    "17: no local part leads onward": Guard(
        "mta.policy.access._ONWARD",
        frozenset(),
        test_17_open_relay.test_not_even_where_local_names_are_not_listed,
        (FOLDER, "victim%else.example"),
    ),
    "18: we are no next hop of ours": Guard(
        "mta.transports.search.Finder.search",
        lambda self, hop, note: Search(replace(self, is_ourselves=lambda address, port: False), hop, note),
        test_18_loops.test_an_mx_that_leads_to_us,
        ("mx.trap.example", "192.0.2.9"),
    ),
    "18: Received fields are counted": Guard(
        "mta.message.header.trace_fields",
        lambda header: 0,
        test_18_loops.test_a_hundred_relays_are_a_circle,
        (FOLDER,),
    ),
    "20: nobody is told of what came from nobody": Guard(
        "mta.policy.settlement._addressee",
        lambda envelope: (Addressee.SENDER, ""),
        test_20_bounce_of_a_bounce.test_nobody_hears_of_what_came_from_nobody,
        (NO_SUCH_USER,),
    ),
    "21: what a server says is made plain": Guard(
        "mta.smtp.answers.clean",
        lambda octets: octets.decode("utf-8", "replace"),
        test_21_injection.test_what_a_server_says_is_made_harmless_before_it_is_kept,
        ("\x9b[2J",),
    ),
    "23: links are not followed": Guard(
        "mta.spool.disk._SAFE",
        0,
        test_23_spool_links.test_a_link_in_the_place_of_a_content_is_not_sent,
        (FOLDER,),
    ),
    "24: lines that look like AUTH are not logged": Guard(
        "mta.smtp.server.may_be_login",
        lambda line: False,
        test_24_secrets.test_however_auth_is_misspelt_nothing_of_it_is_logged,
        (FOLDER, test_24_secrets.SAID[7], "offered"),
    ),
    "24: what a server repeats of a login is left out": Guard(
        "mta.smtp.answers.Secrets.without",
        lambda self, reply: reply,
        test_24_secrets.test_a_server_that_repeats_what_we_said_does_not_spread_it,
        (FOLDER, test_24_secrets.ECHOES[0]),
    ),
    "25: few places are tried": Guard(
        "mta.policy.exchangers.MOST_ADDRESSES", 10**6, test_25_hostile_dns.test_a_thousand_addresses, ()
    ),
    "26: what comes too early is no answer": Guard(
        "mta.transports.session.Session._too_early",
        lambda self, held, replies: (held.replies.extend(replies[:1]), self._answer(held)),
        test_26_hostile_peer.test_a_250_before_the_end_of_the_content,
        ("250 2.0.0 taken",),
    ),
    "28: guesses are counted": Guard(
        "mta.auth.guessing.Guessing.begin",
        lambda self, address, account, now: Guess(address, account, 0.0, ()),
        test_28_password_guessing.test_many_at_once_are_no_way_around_it,
        (FOLDER, "PLAIN"),
    ),
}


@pytest.mark.parametrize("name", GUARDS)
def test_without_its_guard_the_attack_succeeds(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = GUARDS[name]

    def attack(case: str) -> None:
        answers._parse.cache_clear()
        given = [folder / case if one is FOLDER else monkeypatch if one is PATCH else one for one in guard.given]
        guard.attack(*given)

    for case in ("with", "without"):
        (folder / case).mkdir()
    attack("with")
    monkeypatch.setattr(guard.where, guard.instead)
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        attack("without")
    answers._parse.cache_clear()


def test_a_sync_that_is_not_waited_for_is_a_promise_that_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """13: of a disk that fails at a sync nothing is noticed."""
    monkeypatch.setattr(database, "_connect", careless)
    disk = test_13_failing_disk.Disk(tmp_path)
    disk.victim.say("EHLO client.example.com")
    fail, octets, reply = test_13_failing_disk.BREAK[0]
    with pytest.raises(AssertionError):
        test_13_failing_disk.test_nothing_is_promised_and_nothing_kept(disk, fail, octets, reply)
    disk.mend()
    disk.close()


def test_a_250_before_the_commit_is_found(folder: Path) -> None:
    """14: a relay that answers first."""
    with planted("250-before-sync"), pytest.raises(AssertionError, match="of which nothing is stored"):
        test_14_killed_while_taking.test_a_250_is_a_promise_and_its_absence_is_none(folder, "sync", "before", "kill")


def test_a_record_without_its_fence_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16: whoever has once held a delivery writes what became of it."""
    for name in ("WISH", "REMOVE_CLAIMED", "CLAIMED"):
        monkeypatch.setattr(settling, name, getattr(settling, name).replace("fence = ?", "fence >= ?"))
    world = SqliteWorld(clock_at_start(), folder / "spool")
    with pytest.raises(AssertionError):
        test_16_stale_worker.test_the_record_of_a_stale_holder_is_refused(world)
    world.close()


def test_tries_without_an_end_to_their_number_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """30: a schedule that looks at nothing but the clock."""
    monkeypatch.setattr("mta.policy.settlement.next_try", lambda policy, received, attempts, now, chance: now + 30)
    relay = test_30_clock_jumps.house_at(None)
    with pytest.raises(AssertionError):
        test_30_clock_jumps.test_nothing_bounces_and_nothing_is_tried_in_circles(relay, DAY)
    relay.store.close()


def test_a_clock_that_nobody_watches_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """30: mail waits for the time that it had been."""
    monkeypatch.setattr("mta.delivery.clockwatch.Clockwatch.compare", lambda self: None)
    relay = test_30_clock_jumps.house_at(None)
    with pytest.raises(AssertionError):
        test_30_clock_jumps.test_what_was_put_off_meanwhile_is_tried_as_the_schedule_says(relay, DAY)
    relay.store.close()
