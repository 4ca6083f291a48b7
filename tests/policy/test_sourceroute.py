"""Source routes: stripped, followed or refused, and what routing makes of them."""

import pytest

from mta.policy.pattern import Pattern
from mta.policy.routing import Hop, Route, Routing, Via
from mta.policy.sourceroute import Onward, next_host, resolve_route
from mta.smtp.address import parse_path, scan_path
from mta.smtp.reply import Reply


def resolve(path: str, mode: str = "follow", sender: str = "<u@x.example>"):
    reverse_path = parse_path(sender)
    return resolve_route(parse_path(path), mode, "mx.example.org", reverse_path.address, reverse_path.route)


def test_stripped_to_the_mailbox() -> None:
    path = "<@mx.example.org,@b.example:user@d.example>"
    assert resolve(path, "strip", "<@a.example:u@x.example>") == Onward(
        "user@d.example", "u@x.example", "user@d.example"
    )


def test_refused() -> None:
    reply = resolve("<@mx.example.org:user@d.example>", "refuse")
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced[:4]) == (550, "5.1.")


@pytest.mark.parametrize(
    ("path", "sender", "forward_path", "reverse_path", "judged"),
    [
        # RFC 821 3.6: we move from the one path to the other.
        ("<@MX.example.org:u@d.example>", "<u@x.example>", "u@d.example", "@mx.example.org:u@x.example", "u@d.example"),
        (
            "<@mx.example.org,@b.example,@c.example:u@d.example>",
            "<@a.example:u@x.example>",
            "@b.example,@c.example:u@d.example",
            "@mx.example.org,@a.example:u@x.example",
            "u@b.example",
        ),
        ("<@mx.example.org,@mx.example.org:u@d.example>", "<>", "u@d.example", "", "u@d.example"),
        # Not through us: it leads to its first host.
        (
            "<@b.example:u@d.example>",
            "<@a.example:u@x.example>",
            "@b.example:u@d.example",
            "u@x.example",
            "u@b.example",
        ),
        (
            "<@b.example,@mx.example.org:u@d.example>",
            "<>",
            "@b.example,@mx.example.org:u@d.example",
            "",
            "u@b.example",
        ),
        # What could route it onward from there stays in sight of whoever judges.
        ("<@b.example:u%e@d.example>", "<>", "@b.example:u%e@d.example", "", "u%e@b.example"),
        ('<@b.example:"u:v"@d.example>', "<>", '@b.example:"u:v"@d.example', "", '"u:v"@b.example'),
        ("<@mx.example.org:u@[IPv6:::1]>", "<>", "u@[IPv6:::1]", "", "u@[IPv6:::1]"),
    ],
)
def test_followed(path: str, sender: str, forward_path: str, reverse_path: str, judged: str) -> None:
    assert resolve(path, "follow", sender) == Onward(forward_path, reverse_path, judged)


def test_a_mailbox_without_a_domain_is_ours_beyond_a_route() -> None:
    path, _ = scan_path("<@b.example:root>", 0, unqualified=True)
    onward = resolve_route(path, "follow", "mx.example.org", "")
    assert onward == Onward("@b.example:root@mx.example.org", "", "root@b.example")
    path, _ = scan_path("<@mx.example.org:root>", 0, unqualified=True)
    assert resolve_route(path, "follow", "mx.example.org", "") == Onward("root", "", "root")


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("@B.example,@c.example:user@d.example", "b.example"),
        ('@b.example:"x:y"@d.example', "b.example"),
        ("@b.example:u@[IPv6:::1]", "b.example"),
        ("user@d.example", ""),
        ("u@[IPv6:::1]", ""),
        ('"@b.example:x"@d.example', ""),
        ("", ""),
        ("postmaster", ""),
    ],
)
def test_the_first_host_of_a_path(path: str, host: str) -> None:
    assert next_host(path) == host


@pytest.mark.parametrize("whole_addresses", [False, True])
def test_the_first_host_decides_where_it_goes(whole_addresses: bool) -> None:
    routes = [
        Route(Hop(Via.SMTP, "inside.example"), Pattern.parse("b.example")),
        Route(Hop(Via.DISCARD), Pattern.parse("d.example")),
        Route(Reply(550, "5.7.1", ("no",)), Pattern.parse(".e.example")),
    ]
    if whole_addresses:
        routes.insert(0, Route(Hop(Via.DISCARD), Pattern.parse("user@d.example")))
    routing = Routing(routes)
    assert routing.decide("", "@B.example,@c.example:user@d.example").hop == Hop(Via.SMTP, "inside.example")
    assert routing.decide("", "@c.example:user@d.example").hop == Hop(Via.MX, "c.example")
    assert routing.decide("", "@x.e.example:user@d.example").hop is None
    assert routing.decide("", "user@d.example").hop == Hop(Via.DISCARD)
    assert routing.decide("", "user@[IPv6:::1]").hop == Hop(Via.MX, "[ipv6:::1]")
