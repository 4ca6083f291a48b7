"""A crowd of mail for a dead host must cost nobody else anything: not the clients, not memory, not other mail."""

import statistics
import time

import pytest
from peers.clients import generate, submit
from peers.daemon import StartRelay
from peers.ground import wait_until
from peers.knot import Dns
from peers.sinks import DROP, MakeSink

BATCH = 500
PAIRS = 5
ROUNDS = 4
MEBIBYTE = 1024 * 1024


@pytest.mark.alone
@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_a_queue_full_of_mail_for_a_dead_host_slows_down_nothing(
    start_relay: StartRelay, dns: Dns, sink: MakeSink, sender: str, count: int
) -> None:
    crowded, empty = start_relay(retry={"after": ["5m"]}), start_relay(retry={"after": ["5m"]})
    dead, other, alive = sink(), sink(), sink()
    for one in (dead, other):
        one.always("GREETING", DROP)
    dns.zone("dead.test", f"@ MX 10 mx\nmx A {dead.address}")
    dns.zone("otherdead.test", f"@ MX 10 mx\nmx A {other.address}")
    dns.zone("alive.test", f"@ MX 10 mx\nmx A {alive.address}")

    begun = time.time()
    generate(crowded, 1000, sender, "bob@dead.test")  # what a relay grows by at first is not the queue's doing
    small = crowded.resident()
    generate(crowded, count, sender, "bob@dead.test")
    growth = crowded.resident() - small

    rates: dict[str, list[float]] = {"crowded": [], "empty": []}
    for _ in range(ROUNDS):
        for _ in range(PAIRS):
            rates["crowded"].append(generate(crowded, BATCH, sender, "bob@dead.test"))
            rates["empty"].append(generate(empty, BATCH, sender, "bob@otherdead.test"))
        ratio = statistics.median(rates["crowded"]) / statistics.median(rates["empty"])
        if ratio >= 0.8:
            break

    waits = []
    for number in range(5):
        accepted = time.time()
        submit(crowded, sender, [f"carol{number}@alive.test"], b"Subject: now\r\n\r\nplease\r\n")
        [taken] = alive.wait_for(f"carol{number}@alive.test", within=10)
        waits.append(taken.at - accepted)
    minutes = (time.time() - begun) / 60
    queued = crowded.queue("--limit", "0")["totals"]["messages"]
    print(
        f"accept ratio {ratio:.2f} ({statistics.median(rates['empty']):.0f} a second when empty), "
        f"memory {growth / MEBIBYTE:+.1f} MiB, others wait {max(waits) * 1000:.0f} ms, "
        f"{len(dead.connections)} attempts at the dead host in {minutes * 60:.0f} s, {queued} queued"
    )
    assert queued >= count + 1000 + PAIRS * BATCH
    assert ratio >= 0.8
    assert growth < 30 * MEBIBYTE
    assert max(waits) < 1.0
    assert len(dead.connections) <= 20 * (minutes + 1)
    assert dead.taken == []


def test_when_the_host_comes_back_its_mail_flows_again(
    start_relay: StartRelay, dns: Dns, sink: MakeSink, sender: str
) -> None:
    relay = start_relay()
    hop = sink()
    hop.always("GREETING", DROP)
    dns.zone("revived.test", f"@ MX 10 mx\nmx A {hop.address}")
    generate(relay, 300, sender, "bob@revived.test")
    wait_until(lambda: hop.connections, "the dead host is tried")
    hop.always("GREETING", None)
    assert len(hop.wait_for("bob@revived.test", 300, within=30)) == 300
    relay.wait_until_empty()
    assert len(hop.transactions) == 300
