"""What is counted, where it stands, and that several processes' rows add up."""

import os

from mta.net import measures
from mta.net.measures import CLASSES, EXPIRED, Measures, make_rows, rows, summed


def test_each_event_has_its_place() -> None:
    one = Measures()
    one.accepted(0.004, 3, 1000, "TLSv1.3 TLS_AES_256_GCM_SHA384")
    one.accepted(100.0, 1, 10, "")
    one.delivered(2, 0.2)
    one.attempted(0.003, "TLSv1 AES")
    one.committed(0.0002)
    cells = one.cells
    assert [cells[at] for at in (measures.MESSAGES, measures.RECIPIENTS, measures.OCTETS)] == [2, 4, 1010]
    assert [cells[measures.TLS_IN + at] for at in range(5)] == [1, 0, 0, 0, 1]
    assert [cells[measures.TLS_OUT + at] for at in range(5)] == [0, 1, 0, 0, 0]
    counts, total = measures.ACCEPTING.told(list(cells))
    assert (counts[1], counts[2], counts[-2], counts[-1], total) == (0, 1, 1, 2, 100.004)
    assert measures.DELIVERING.told(list(cells))[0][-1] == 1


def test_replies_are_counted_by_their_subject() -> None:
    one = Measures()
    for code, enhanced in ((550, "5.7.1"), (450, "4.2.1"), (500, ""), (421, "4.9.9"), (554, "5.12.3"), (550, "5.1.10")):
        one.refused(code, enhanced)
    one.failed("5.1.1", expired=False)
    one.failed("4.4.1", expired=True)
    permanent = {CLASSES[at]: one.cells[measures.PERMANENT + at] for at in range(len(CLASSES))}
    temporary = {CLASSES[at]: one.cells[measures.TEMPORARY + at] for at in range(len(CLASSES))}
    assert permanent == {**dict.fromkeys(CLASSES, 0), "policy": 1, "other": 2, "address": 1}
    assert temporary == {**dict.fromkeys(CLASSES, 0), "mailbox": 1, "other": 1}
    assert (one.cells[measures.FAILED + 1], one.cells[measures.FAILED + EXPIRED]) == (1, 1)


def test_processes_share_their_rows_and_what_was_counted_stays() -> None:
    descriptor = make_rows(2)
    supervisor, worker = rows(descriptor, 2), rows(os.dup(descriptor), 2)[1]
    supervisor[0].delivered(1, 1.0)
    worker.delivered(2, 1.0)
    worker.cells[measures.SESSIONS] = 7
    assert summed(supervisor)[measures.DELIVERED] == 3
    supervisor[1].forget_gauges()
    assert summed(supervisor)[measures.SESSIONS] == 0
    assert summed(supervisor)[measures.DELIVERED] == 3


def test_places_do_not_overlap() -> None:
    one = Measures()
    for histogram in (measures.ACCEPTING, measures.DELIVERING, measures.ATTEMPTING, measures.COMMITTING):
        for bound in (0.0, *histogram.bounds, 1e9):
            one.cells[histogram.start + len([under for under in histogram.bounds if under < bound])] += 1
    assert sum(one.cells[: measures.ACCEPTING.start]) == 0  # type: ignore[index,arg-type]
    assert measures.COMMITTING.start + measures.COMMITTING.size == measures.SIZE
