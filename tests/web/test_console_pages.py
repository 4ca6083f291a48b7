"""The pages of the console, over a real spool: what they show, what their forms do, and what is asked first."""

from pathlib import Path

import pytest
from console_ground import Ground, text_of

from mta.interfaces import NewDelivery
from mta.message.envelope import Recipient, format_queue_id
from mta.message.timeline import Event
from mta.operating.console import Console
from mta.web.console import pages
from mta.web.console.seams import Advice
from mta.web.seams import Unusable

DAY = 86400.0


def put(ground: Ground, count: int = 1, **more: object) -> list[str]:
    """Messages in the queue; their ids."""
    ids = []
    for _ in range(count):
        number, _ = ground.spools.commit(due=ground.clock.seconds() + DAY, **more)
        ids.append(format_queue_id(number))
        ground.clock.advance(1.0)
    return ids


def test_an_empty_queue_says_so(ground: Ground) -> None:
    assert "Nothing waits" in text_of(ground.page("/"))
    assert "The queue is empty" in text_of(ground.page("/queue"))
    assert "A line appears here" in text_of(ground.page("/log"))


def test_the_overview_counts_by_state_age_and_destination(ground: Ground) -> None:
    put(ground, 3, to=("a@slow.test",), destination="slow.test")
    ground.clock.advance(2 * 3600)
    put(ground, 2, to=("b@other.test",), destination="other.test")
    [held] = put(ground)
    ground.post(f"/message/{held}", verb="hold")
    text = text_of(ground.page("/"))
    assert "Messages 6" in text and "Recipients 6" in text
    assert "ready 0" in text and "deferred 5" in text and "held 1" in text
    assert "up to 5 minutes 3" in text and "up to 4 hours 3" in text
    assert text.index("slow.test 3") < text.index("other.test 2")
    assert "Worker" in text and "running" in text


def test_the_rates_are_what_was_counted_minute_by_minute(ground: Ground) -> None:
    count = ground.measures
    count.accepted(0.1, 7, 100, "")  # before anybody looked: of no minute
    ground.rates.look()
    count.accepted(0.1, 2, 100, "")
    count.delivered(1, 0.5)
    count.deferred("4.2.0")
    ground.rates.look()
    ground.clock.advance(60)
    count.accepted(0.1, 1, 100, "")
    count.failed("5.1.1", False)
    count.refused(550, "5.7.1")
    ground.rates.look()
    counts = {word: numbers[-2:] for word, numbers in ground.rates.counts().items()}
    assert counts == {"accepted": [2, 1], "delivered": [1, 0], "deferred": [1, 0], "failed": [0, 1], "refused": [0, 1]}
    assert "accepted 2 2 3" in text_of(ground.page("/"))
    ground.clock.advance(59 * 60)
    assert sum(ground.rates.counts()["accepted"]) == 1, "also where nobody has looked since"
    ground.rates.look()
    ground.clock.advance(1e9)
    assert {len(numbers) for numbers in ground.rates.counts().values()} == {60}
    assert sum(ground.rates.counts()["accepted"]) == 0


def test_pages_leave_nothing_out_and_show_nothing_twice(monkeypatch: pytest.MonkeyPatch, ground: Ground) -> None:
    monkeypatch.setattr(pages, "PAGE", 20)
    ids = put(ground, 46)
    seen, path, sizes = [], "/queue", []
    while path:
        page = ground.page(path)
        shown = [one for one in ids if f'id="m{one}"' in page]
        seen += shown
        sizes.append(len(shown))
        path = page.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert sizes == [20, 20, 6]
    assert seen == ids


def test_filters_find_by_sender_recipient_and_state(ground: Ground) -> None:
    [one] = put(ground, to=("a@slow.test",), destination="slow.test", sender="shop@example.org")
    [other] = put(ground, to=("b@other.test",), destination="other.test", sender="")
    ground.post(f"/message/{other}", verb="hold")
    for query, found in {
        "to=slow.test": one,
        "from=shop@example.org": one,
        "from=<>": other,
        "state=held": other,
    }.items():
        page = ground.page(f"/queue?{query}")
        assert f'id="m{found}"' in page and page.count("<tr id=") == 1, query
    assert "Nothing in the queue matches" in text_of(ground.page("/queue?to=nobody.test"))
    assert "one of ready, active" in text_of(ground.page("/queue?state=lost", 422))
    assert "characters" in text_of(ground.page("/queue?to=" + "x" * 500, 422))


@pytest.mark.parametrize(("verb", "state"), [("hold", "held"), ("retry", "ready")])
def test_what_can_be_undone_is_done_at_once(ground: Ground, verb: str, state: str) -> None:
    ids = put(ground, 3)
    answer = ground.post("/queue", [("id", ids[0]), ("id", ids[2])], verb=verb)
    assert answer.status == 303
    assert "2 recipients" in text_of(ground.page(answer.headers["Location"]))
    queue = {one.id: one.recipients[0].state for one in ground.spools.desk().queue()}
    assert [queue[number] for number in sorted(queue)] == [state, "deferred", state]


@pytest.mark.parametrize("verb", ["bounce", "drop"])
def test_what_cannot_be_undone_asks_first(ground: Ground, verb: str) -> None:
    ids = put(ground, 2, sender="")
    asked = ground.post("/queue", [("id", ids[0])], verb=verb)
    assert isinstance(asked.body, bytes) and asked.status == 200
    assert "1 message" in text_of(asked.body.decode()) and "cannot be undone" in asked.body.decode()
    assert ground.spools.desk().totals().messages == 2, "nothing is done yet"
    done = ground.post("/queue", [("id", ids[0])], verb=verb, sure="yes")
    assert done.status == 303
    assert [format_queue_id(one.id) for one in ground.spools.desk().queue()] == [ids[1]]


def test_all_that_matches_is_counted_and_asked_about(ground: Ground) -> None:
    put(ground, 3, to=("a@slow.test",), destination="slow.test")
    put(ground)
    asked = ground.post("/queue", verb="hold", scope="all", to="slow.test")
    assert isinstance(asked.body, bytes)
    assert "Hold 3 messages for slow.test?" in text_of(asked.body.decode())
    whole = ground.post("/queue", verb="retry", scope="all")
    assert isinstance(whole.body, bytes)
    assert "the whole queue, 4 messages" in text_of(whole.body.decode())
    ground.post("/queue", verb="hold", scope="all", to="slow.test", sure="yes")
    assert ground.spools.desk().totals().held == 3
    assert ground.post("/queue", verb="hold", scope="all", state="held").status == 422


def test_nothing_selected_no_such_verb_and_no_token_do_nothing(ground: Ground) -> None:
    [one] = put(ground)
    assert ground.post("/queue", verb="hold").status == 422
    assert ground.post("/queue", [("id", one)], verb="explode").status == 422
    assert ground.post("/queue", [("id", "nonsense!")], verb="hold").status == 422
    ground.csrf = "stolen"
    assert ground.post("/queue", [("id", one)], verb="drop", sure="yes").status == 403
    assert ground.spools.desk().totals() == (1, 21, 1, 0, 0)


def test_a_verb_that_changes_nothing_says_why(ground: Ground) -> None:
    [one] = put(ground)
    answer = ground.post(f"/message/{one}", verb="release")
    assert "Nothing was released. It is not held." in text_of(ground.page(answer.headers["Location"]))


def test_a_message_tells_its_story_its_header_and_what_was_said(ground: Ground) -> None:
    content = b"From: a@example.org\r\nSubject: The\r\n minutes\r\n\r\nbody\r\n"
    ground.spools.commit(content=content)
    [claim] = ground.spools.claim()
    said = {"host": "mx.test", "try": 1, "reply": "450 4.2.0 later", "dialogue": ["S: 220 mx", "C: EHLO us"], "tls": ""}
    attempt = Event(ground.clock.seconds(), "attempt", {**said, "destination": "example.net", "seconds": 0.25})
    ground.record(claim, ground.spools.waiting(claim), attempt)
    page = ground.page(f"/message/{format_queue_id(claim.message)}")
    text = text_of(page)
    assert "Subject The minutes" in text and "received from" in text and "body" not in text.split()
    assert "try 1 at mx.test, without TLS, 0.25 s: 450 4.2.0 later" in text
    assert '<li class="server"><bdi>S: 220 mx</bdi>' in page and '<li class="client"><bdi>C: EHLO us</bdi>' in page
    assert "a@example.net" in text and "deferred" in text and "next try" in text


def test_a_message_that_has_gone_still_has_its_story(ground: Ground) -> None:
    ground.spools.commit()
    [claim] = ground.spools.claim()
    ground.spools.record(claim)
    page = ground.page(f"/message/{format_queue_id(claim.message)}")
    assert "The content has gone with the message" in page and 'class="verbs"' not in page
    assert "delivered" in text_of(page)


@pytest.mark.parametrize("path", ["/message/nonsense!", "/message/CR7D5JBH7000", "/message/-"])
def test_a_message_that_is_not_there_says_so(ground: Ground, path: str) -> None:
    assert "Go to the overview" in text_of(ground.page(path, 404))


def test_a_destination_shows_its_pause_and_what_waits(ground: Ground) -> None:
    put(ground, 25, to=("a@slow.test",), destination="smtp:slow.test:25")
    page = text_of(ground.page("/destination?name=smtp:slow.test:25"))
    assert "Waiting 25" in page and "All of it, in the queue" in page
    assert "Nothing is known" in text_of(ground.page("/destination?name=else.test"))
    answer = ground.post("/destination", verb="hold", name="smtp:slow.test:25")
    assert "25 recipients held" in text_of(ground.page(answer.headers["Location"]))
    asked = ground.post("/destination", verb="drop", name="smtp:slow.test:25")
    assert isinstance(asked.body, bytes) and "25 messages for smtp:slow.test:25" in text_of(asked.body.decode())


def test_a_destination_shows_what_is_active_as_such_and_the_verbs_for_it(ground: Ground) -> None:
    """Not as being tried: most of it may wait in memory for its turn."""
    put(ground, 25, to=("a@slow.test",), destination="slow.test", eager=True)
    page = ground.page("/destination?name=slow.test")
    assert "Active 25 " in text_of(page) and "Being tried" not in page
    done = ground.post("/destination", verb="hold", name="slow.test").headers["Location"]
    assert (
        "25 recipients held. 25 recipients taken up for delivery: it is granted when the try has ended, "
        "within a second if that has not begun." in text_of(ground.page(done))
    )
    assert 'value="hold"' in page


def test_what_is_held_with_a_reason_is_an_alarm(ground: Ground) -> None:
    ground.spools.commit()
    [claim] = ground.spools.claim()
    waiting = ground.spools.waiting(claim, state="held", last_reply="535 5.7.8 wrong password")
    ground.spools.record(claim, waiting, kind="")
    text = text_of(ground.page("/"))
    assert "Held" in text and "535 5.7.8 wrong password" in text and "release what is held" in text


def test_the_configuration_has_no_secrets(ground: Ground) -> None:
    page = ground.page("/configuration")
    assert "password_file" in page and "mail.example.org" in page
    assert "pencil" not in page


def test_pages_of_advice_are_there_where_somebody_can_be_asked(tmp_path: Path) -> None:
    findings = {"totals": dict.fromkeys(("problem", "warning", "unknown", "note", "ok"), 0), "findings": []}

    def doctor(domain: str) -> dict[str, object]:
        if domain == "bad":
            raise Unusable("bad is not a domain")
        return findings

    ground = Ground(tmp_path, Advice(doctor=doctor))
    try:
        menu = ground.page("/")
        assert "/doctor" in menu and "/explain" not in menu
        assert ground.get("/explain").status == 404
        assert "Nothing has been examined" in ground.page("/doctor")
        answer = ground.post("/doctor", domain="example.org")
        assert "Examined 0s ago" in text_of(ground.page(answer.headers["Location"]))
        answer = ground.post("/doctor", domain="bad")
        assert "bad is not a domain" in ground.page(answer.headers["Location"])
    finally:
        ground.close()


def test_lines_of_the_log_can_be_looked_for(ground: Ground) -> None:
    ground.watch([f"2026-11-23T08:13:51.886Z X{number} received size=1" for number in range(1500)])
    assert ground.page("/log").count('<li class="received"') == 300
    text = text_of(ground.page("/log?q=X1499"))
    assert "X1499" in text and "X1498" not in text


def test_who_listens_is_told_at_a_pace(ground: Ground) -> None:
    octets: list[bytes] = []
    stream = ground.get("/events").body
    assert not isinstance(stream, bytes) and hasattr(stream, "begin")
    stream.begin(octets.append, lambda: None)
    ground.watch(["a b received"] * 50)
    ground.clock.advance(2.1)
    ground.clock.pump([2.0] * 3)
    assert sum(b"event: changed" in one for one in octets) == 1
    ground.clock.pump([2.0] * 5)
    assert sum(b"event: changed" in one for one in octets) == 2, "times go on"
    stream.end()
    ground.clock.pump([2.0] * 10)
    assert sum(b"event: changed" in one for one in octets) == 2
    assert not [call for call in ground.clock.getDelayedCalls() if "_tell" in str(call)]


def test_who_watches_the_log_gets_its_lines_one_each_and_not_too_many(ground: Ground) -> None:
    octets: list[bytes] = []
    stream = ground.get("/events?log=yes").body
    assert not isinstance(stream, bytes) and hasattr(stream, "begin")
    stream.begin(octets.append, lambda: None)
    ground.watch(["one\nevent: changed\n\r\n\x1b[2J"] + ["x"] * 300)
    ground.clock.advance(0.6)
    assert octets[1] == b"event: line\ndata: one\n\n"
    assert octets[2:5] == [f"event: line\ndata: {one}\n\n".encode() for one in ("event: changed", "\\x0d", "\\x1b[2J")]
    assert b"101 more lines" in octets[-1]
    stream.end()


def test_recipients_of_one_message_in_two_places_are_one_row(ground: Ground) -> None:
    parts = [
        NewDelivery(f"{name}.test", (Recipient(f"a@{name}.test"),), ground.clock.seconds() + DAY, DAY * 9)
        for name in ("one", "two")
    ]
    ground.spools.commit(to=("a@one.test", "a@two.test"), deliveries=parts)
    page = ground.page("/queue")
    assert page.count("<tr id=") == 1 and "a@one.test" in page and "a@two.test" in page


def test_open_pages_do_not_look_again_and_again_at_a_long_queue(ground: Ground) -> None:
    console = Console(ground.config, lambda name: None, ground.clock.seconds, rests=1e6)
    before = console.overview()
    put(ground)
    assert console.overview() is before
    eager = Console(ground.config, lambda name: None, ground.clock.seconds, rests=0.0)
    assert eager.overview()["totals"]["messages"] == 1
