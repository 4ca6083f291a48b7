"""However long the queue: what is asked of it all the time goes by an index, and never through a whole table."""

import re

import apsw
import pytest

from mta.spool import (
    claims,
    database,
    destinations,
    hastening,
    history,
    keeping,
    ledger,
    listing,
    outbox,
    owing,
    rushing,
    settling,
    sqlite,
    store,
    verbs,
)
from mta.spool.database import open_queue
from mta.spool.disk import Disk

BOUNDED = (
    "SCAN CONSTANT ROW",
    "SCAN destination USING COVERING INDEX",  # counts them, once, at the start
    "SCAN delivery USING INDEX delivery_held",  # which has nothing else in it
    "SCAN webhook",  # there are as many as the configuration has
)
MODULES = (claims, hastening, history, keeping, ledger, outbox, owing, rushing, settling, sqlite, store, verbs)
QUERIES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if name[0] != "_" and isinstance(value, str) and re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)\b", value)
}
QUERIES |= {f"listing.{name}": getattr(listing, name) for name in ("OLDEST", "MESSAGE", "DELIVERIES", "HELD", "TOTALS")}
QUERIES |= {f"listing.{name}": getattr(listing, name) for name in ("DESTINATION", "WAITING", "HELD_THERE")}
QUERIES |= {f"listing.{name}": getattr(listing, name) for name in ("ENDED", "DESTINATIONS")}
QUERIES |= {f"ledger.ENDS_OF_STRETCH[{number}]": query for number, query in enumerate(ledger.ENDS_OF_STRETCH)}
QUERIES["destinations.STATES"] = destinations.STATES
QUERIES["listing.FIND"] = listing.FIND.format(condition="1")
QUERIES |= {f"database.ENDS[{number}]": query for number, query in enumerate(database.ENDS)}
AT_THE_START = ("claims.PAUSES",)  # asked once, for a bounded number: 50 ms for each 100,000 destinations
SORTED = ("keeping.ENDS_SO_FAR", "listing.DELIVERIES")  # the few rows of one message


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory):
    db = open_queue(tmp_path_factory.mktemp("plans") / "queue-0.db", Disk(), None)
    yield db
    db.close()


def plan(db: apsw.Connection, query: str) -> list[str]:
    named = dict.fromkeys(re.findall(r":(\w+)", query))
    numbered = [int(number) for number in re.findall(r"\?(\d+)", query)]
    values = named or [None] * (max(numbered) if numbered else query.count("?"))
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]


def test_the_queries_are_found() -> None:
    for name in ("claims.CLAIM_DUE", "claims.CLAIM_OVERDUE", "claims.DUE", "claims.NEXT_DEADLINE", "settling.ACTIVE"):
        assert name in QUERIES


@pytest.mark.parametrize("name", QUERIES)
def test_nothing_is_scanned(db: apsw.Connection, name: str) -> None:
    steps = plan(db, QUERIES[name])
    scans = [step for step in steps if step.startswith("SCAN") and not step.startswith(BOUNDED)]
    assert scans in ([], ["SCAN totals"]) or name in AT_THE_START, steps
    sorts = [step for step in steps if "TEMP B-TREE" in step]
    assert sorts == [] or name in SORTED + AT_THE_START, steps


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("claims.CLAIM_DUE", "delivery_waiting (destination=? AND priority=? AND due<?)"),
        ("claims.CLAIM_OVERDUE", "delivery_deadline (deadline<?)"),
        ("claims.DUE", "destination_next (next_due>?)"),
        ("claims.NEXT_DEADLINE", "delivery_deadline"),
        ("settling.CLAIMED", "INTEGER PRIMARY KEY (rowid=?)"),
        ("settling.ACTIVE", "delivery_active (state=?)"),
        ("store.HIGHEST_PRIORITY", "delivery_waiting (destination=?)"),
        ("store.EARLIEST_DUE", "delivery_waiting (destination=? AND priority=?)"),
        ("rushing.DUE_WITH", "delivery_waiting (destination=? AND priority=? AND due=? AND rowid>?)"),
        ("rushing.DUE_AFTER", "delivery_waiting (destination=? AND priority=? AND due>?)"),
        ("rushing.OF_DOMAIN", "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        ("listing.FIND", "delivery USING INTEGER PRIMARY KEY (rowid>?)"),
        ("listing.HELD", "delivery_held"),
        ("listing.ENDED", "timeline_ended (ended>?)"),
        ("listing.DESTINATIONS", "PRIMARY KEY (name>? AND name<?)"),
        ("ledger.EVENTS", "event_message (message>? AND message<?)"),
        ("ledger.DELIVERIES", "delivery_message (message>? AND message<?)"),
        ("ledger.MESSAGES", "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        ("outbox.OWED", "owed_url (url=?)"),
        ("outbox.FORGET", "owed_url (url=? AND id<?)"),
        ("outbox.NEXT_URL", "owed_url (url>?)"),
        ("destinations.STATES", "COVERING INDEX delivery_waiting (destination=?)"),
        ("destinations.STATES", "COVERING INDEX delivery_held (destination=?)"),
        ("destinations.STATES", "delivery_active (state=?)"),
        ("owing.DISOWN", "INTEGER PRIMARY KEY (rowid>?)"),
        ("history.EXPIRED", "timeline_ended (ended<?)"),
    ],
)
def test_the_right_index_is_used(db: apsw.Connection, name: str, index: str) -> None:
    assert any(index in step for step in plan(db, QUERIES[name])), plan(db, QUERIES[name])


def test_destinations_are_counted_without_the_table(db: apsw.Connection) -> None:
    """Its rows lie between envelopes and bodies; the indexes have nothing but what is counted."""
    steps = plan(db, destinations.MOST)
    assert [step for step in steps if "delivery" in step] == [
        "SCAN delivery USING COVERING INDEX delivery_waiting",
        "SCAN delivery USING COVERING INDEX delivery_held",
        "SEARCH delivery USING INDEX delivery_active (state=?)",
    ]
