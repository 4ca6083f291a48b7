"""From a forward-path to who gets the mail, and from whom."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.message.envelope import Recipient
from mta.policy import addressing
from mta.policy.addressing import Addressed, Addressing, Expanded
from mta.policy.directory import Alias, Directory, Domain, Entry, MailingList, Moved, User
from mta.policy.pattern import Pattern
from mta.policy.routing import Hop, Route, Routing, Via
from mta.policy.via import parse_via
from mta.smtp.name_replies import EXPANSION_TOO_LARGE, LEADS_NOWHERE, NO_SUCH_MAILBOX
from mta.smtp.reply import Reply

POSTMASTER = "root@relay.example"
SENDER = "writer@else.example"
REFUSAL = Reply(550, "5.7.1", ("not accepted here",))
NOT_NOW = Reply(450, "4.7.1", ("not now",))
ROUTING = Routing(
    [
        Route(parse_via("lmtp://127.0.0.1"), Pattern.parse("a.example"), name="store"),
        Route(REFUSAL, Pattern.parse("refused.example")),
        Route(NOT_NOW, Pattern.parse("later.example")),
        Route(parse_via("smtp://bounces.example"), Pattern.parse("b.example"), Pattern.parse("owner@a.example")),
    ]
)


def house(*entries: Entry, complete: bool = True, postmaster: str = POSTMASTER) -> Addressing:
    """Addressing with a directory of the domain a.example."""
    return Addressing(Directory([Domain("a.example", entries, complete)]), ROUTING, postmaster)


def whom(addressed: Addressed) -> list[tuple[str, str]]:
    return [(one.reverse_path, one.recipient.address) for one in addressed.forwardings]


def users(*names: str) -> list[Entry]:
    return [User(f"{name}@a.example") for name in names]


def alias(name: str, *members: str) -> Alias:
    return Alias(f"{name}@a.example", members)


def mailing_list(name: str, *members: str, owner: str = "owner@a.example") -> MailingList:
    return MailingList(f"{name}@a.example", members, owner)


# ---- Addresses that nothing else stands for


@pytest.mark.parametrize("addressed_by", [Addressing(Directory(), ROUTING, POSTMASTER), house(*users("u"))])
@pytest.mark.parametrize("address", ["u@b.example", "u@sub.a.example", "@a.example,@b.example:nobody@a.example"])
def test_routing_alone_decides_elsewhere(addressed_by: Addressing, address: str) -> None:
    recipient = Recipient(address, "NEVER")
    assert not addressed_by.concerns(address)
    addressed = addressed_by.resolve(SENDER, recipient)
    assert addressed.reply is None
    assert addressed.expanded is Expanded.NOT
    [only] = addressed.forwardings
    assert only.recipient is recipient
    assert only.reverse_path == SENDER
    assert only.decision == ROUTING.decide(SENDER, address)
    assert addressed.why == only.decision.why
    assert addressed_by.decide(SENDER, address) == only.decision


def test_mailbox_is_kept_as_it_was_given() -> None:
    addressed = house(*users("user")).resolve("", Recipient("USER@A.example", "SUCCESS"))
    assert addressed.reply is None
    assert addressed.forwardings[0].recipient == Recipient("USER@A.example", "SUCCESS")
    assert addressed.forwardings[0].decision.hop == Hop(Via.LMTP, "127.0.0.1", 24)
    assert addressed.why == "directory: mailbox user@a.example; routes[0] (store): to a.example"


def test_unknown_mailbox_is_refused() -> None:
    addressed = house(*users("user")).resolve(SENDER, Recipient("usr@a.example"))
    assert addressed.reply == NO_SUCH_MAILBOX
    assert addressed.is_refused
    assert addressed.why == "directory: usr@a.example is not a name of its domain"


def test_unknown_name_passes_where_mailboxes_are_not_listed() -> None:
    addressed = house(alias("x", "y@b.example"), complete=False).resolve(SENDER, Recipient("usr@a.example"))
    assert (addressed.reply, whom(addressed)) == (None, [(SENDER, "usr@a.example")])


def test_refusal_of_a_route_is_given_at_once() -> None:
    for where in (house(), Addressing(Directory(), ROUTING, POSTMASTER)):
        addressed = where.resolve(SENDER, Recipient("u@refused.example"))
        assert (addressed.reply, addressed.forwardings) == (REFUSAL, ())


@pytest.mark.parametrize("complete", [True, False])
def test_every_domain_has_a_postmaster(complete: bool) -> None:
    addressed = house(complete=complete).resolve(SENDER, Recipient("PostMaster@a.example"))
    assert (addressed.reply, whom(addressed)) == (None, [(SENDER, POSTMASTER)])
    assert addressed.expanded is Expanded.FORWARD


def test_postmaster_of_the_relay_can_be_in_the_directory() -> None:
    here = house(postmaster="postmaster@a.example")
    assert whom(here.resolve("", Recipient("postmaster@a.example"))) == [("", "postmaster@a.example")]
    here = house(alias("root", "jean@b.example"), postmaster="root@a.example")
    assert whom(here.resolve("", Recipient("postmaster@a.example"))) == [("", "jean@b.example")]


# ---- Users who have moved


def test_moved_user_is_forwarded_and_the_sender_told() -> None:
    here = house(Moved("old@a.example", "New@b.example", True))
    addressed = here.resolve(SENDER, Recipient("Old@a.example", "SUCCESS,DELAY"))
    assert str(addressed.reply) == "251 2.1.5 User not local; will forward to <New@b.example>"
    [only] = addressed.forwardings
    assert only.recipient == Recipient("New@b.example", "SUCCESS,DELAY", "rfc822;Old@a.example")
    assert only.reverse_path == SENDER
    assert addressed.expanded is Expanded.FORWARD
    assert addressed.why == "directory: old@a.example has moved to New@b.example, and is forwarded"


def test_moved_user_is_not_forwarded_and_the_sender_told_where() -> None:
    here = house(Moved("old@a.example", "new@b.example", False))
    addressed = here.resolve(SENDER, Recipient("old@a.example"))
    assert str(addressed.reply) == "551 5.1.6 User not local; please try <new@b.example>"
    assert addressed.is_refused
    assert addressed.why == "directory: old@a.example has moved to new@b.example, and is not forwarded"
    assert here.decide(SENDER, "OLD@a.example").refusal == addressed.reply


def test_new_address_that_is_not_in_ascii_is_not_told() -> None:
    here = house(Moved("old@a.example", "é@b.example", True), Moved("gone@a.example", "é@b.example", False))
    forwarded = here.resolve(SENDER, Recipient("old@a.example"))
    assert str(forwarded.reply) == "251 2.1.5 User not local; will forward"
    refused = here.resolve(SENDER, Recipient("gone@a.example"))
    assert str(refused.reply) == "551 5.1.6 User not local; ask postmaster for the new address"


def test_moved_within_the_house() -> None:
    here = house(Moved("old@a.example", "team@a.example", True), mailing_list("team", "x@b.example"))
    addressed = here.resolve(SENDER, Recipient("old@a.example"))
    assert str(addressed.reply) == "251 2.1.5 User not local; will forward to <team@a.example>"
    assert whom(addressed) == [("owner@a.example", "x@b.example")]
    assert addressed.expanded is Expanded.LIST


# ---- Aliases and lists


def test_alias_keeps_the_reverse_path() -> None:
    here = house(alias("sales", "x@b.example", "anne@a.example", "X@B.example", "x@B.EXAMPLE"), *users("anne"))
    addressed = here.resolve(SENDER, Recipient("sales@a.example"))
    # A local part that is not ours may differ by case alone.
    assert whom(addressed) == [(SENDER, "x@b.example"), (SENDER, "anne@a.example"), (SENDER, "X@B.example")]
    assert addressed.reply is None
    assert addressed.expanded is Expanded.ALIAS
    assert addressed.why == "directory: alias sales@a.example of 4 addresses"


def test_list_sets_the_reverse_path() -> None:
    here = house(mailing_list("team", "x@b.example", "anne@a.example", "ANNE@a.example"), *users("anne"))
    addressed = here.resolve(SENDER, Recipient("team@a.example", "SUCCESS", "rfc822;t@x"))
    assert whom(addressed) == [("owner@a.example", "x@b.example"), ("owner@a.example", "anne@a.example")]
    assert addressed.expanded is Expanded.LIST
    assert all(not one.recipient.notify and not one.recipient.original for one in addressed.forwardings)
    # The route is that of mail from the owner.
    assert addressed.forwardings[0].decision.hop == Hop(Via.SMTP, "bounces.example")
    assert addressed.why == "directory: list team@a.example of 3, with bounces to owner@a.example"


def test_null_reverse_path_stays_null() -> None:
    here = house(mailing_list("team", "x@b.example", "inner@a.example"), mailing_list("inner", "y@b.example"))
    assert whom(here.resolve("", Recipient("team@a.example"))) == [("", "x@b.example"), ("", "y@b.example")]


def test_inner_list_has_its_own_owner() -> None:
    here = house(
        mailing_list("outer", "x@b.example", "inner@a.example", "y@b.example"),
        mailing_list("inner", "x@b.example", "outer@a.example", owner="other@a.example"),
    )
    # What x gets twice has two owners, and its bounces go to each.
    assert whom(here.resolve(SENDER, Recipient("outer@a.example"))) == [
        ("owner@a.example", "x@b.example"),
        ("other@a.example", "x@b.example"),
        ("owner@a.example", "y@b.example"),
    ]


def test_alias_in_a_list_and_list_in_an_alias() -> None:
    here = house(
        alias("all", "team@a.example", "boss@b.example"),
        mailing_list("team", "sales@a.example", "boss@b.example"),
        alias("sales", "x@b.example", "y@b.example"),
    )
    addressed = here.resolve(SENDER, Recipient("all@a.example", "SUCCESS,FAILURE"))
    assert [(one.reverse_path, *one.recipient) for one in addressed.forwardings] == [
        ("owner@a.example", "x@b.example", "", "rfc822;sales@a.example"),
        ("owner@a.example", "y@b.example", "", "rfc822;sales@a.example"),
        ("owner@a.example", "boss@b.example", "", ""),
        (SENDER, "boss@b.example", "FAILURE", "rfc822;all@a.example"),
    ]
    assert addressed.expanded is Expanded.ALIAS


@pytest.mark.parametrize(
    ("members", "notify", "original", "passed"),
    [
        (1, "", "", ("", "rfc822;al+2Bias@a.example")),
        (1, "SUCCESS,DELAY", "", ("SUCCESS,DELAY", "rfc822;al+2Bias@a.example")),
        (1, "NEVER", "rfc822;first@x", ("NEVER", "rfc822;first@x")),
        (2, "", "", ("", "rfc822;al+2Bias@a.example")),
        (2, "SUCCESS", "rfc822;first@x", ("NEVER", "rfc822;first@x")),
        (2, "SUCCESS,FAILURE,DELAY", "", ("FAILURE,DELAY", "rfc822;al+2Bias@a.example")),
        (2, "FAILURE,SUCCESS", "", ("FAILURE", "rfc822;al+2Bias@a.example")),
        (2, "DELAY", "", ("DELAY", "rfc822;al+2Bias@a.example")),
        (2, "NEVER", "", ("NEVER", "rfc822;al+2Bias@a.example")),
    ],
)
def test_what_passes_on_of_the_senders_wishes(
    members: int, notify: str, original: str, passed: tuple[str, str]
) -> None:
    addresses = tuple(f"u{number}@b.example" for number in range(members))
    here = house(Alias("al+ias@a.example", addresses))
    addressed = here.resolve(SENDER, Recipient("al+ias@a.example", notify, original))
    assert [one.recipient for one in addressed.forwardings] == [Recipient(one, *passed) for one in addresses]


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (["u@b.example"], Expanded.FORWARD),
        (["moved@a.example"], Expanded.FORWARD),
        (["many@a.example"], Expanded.ALIAS),
        (["team@a.example"], Expanded.LIST),
        (["one@a.example"], Expanded.LIST),
        (["team@a.example", "u@b.example"], Expanded.ALIAS),
    ],
)
def test_kind_is_that_of_the_first_that_several_stand_behind(first: list[str], kind: Expanded) -> None:
    here = house(
        alias("first", *first),
        alias("many", "u@b.example", "team@a.example"),
        alias("one", "team@a.example"),
        mailing_list("team", "u@b.example", "many@a.example"),
        Moved("moved@a.example", "u@b.example", True),
    )
    assert here.resolve(SENDER, Recipient("first@a.example")).expanded is kind


def test_member_that_is_refused_is_given_back_with_its_refusal() -> None:
    gone = Moved("gone@a.example", "new@b.example", False)
    here = house(alias("all", "u@refused.example", "nobody@a.example", "gone@a.example", "x@b.example"), gone)
    addressed = here.resolve(SENDER, Recipient("all@a.example"))
    assert addressed.reply is None
    assert [one.decision.refusal and one.decision.refusal.code for one in addressed.forwardings] == [
        550,
        550,
        551,
        None,
    ]
    assert [one.decision.hop is None for one in addressed.forwardings] == [True, True, True, False]


@pytest.mark.parametrize(
    ("members", "reply"),
    [
        (["u@refused.example"], REFUSAL),
        (["nobody@a.example"], NO_SUCH_MAILBOX),
        (["nobody@a.example", "u@refused.example"], NO_SUCH_MAILBOX),
        (["nobody@a.example", "u@later.example"], NOT_NOW),
    ],
)
def test_alias_with_nobody_behind_it_is_refused(members: list[str], reply: Reply) -> None:
    addressed = house(alias("all", *members)).resolve(SENDER, Recipient("all@a.example"))
    assert (addressed.reply, addressed.forwardings) == (reply, ())
    assert addressed.why.startswith("directory: alias all@a.example of ")


def test_list_with_nobody_behind_it_is_its_owners_matter() -> None:
    addressed = house(mailing_list("team", "nobody@a.example")).resolve(SENDER, Recipient("team@a.example"))
    assert (addressed.reply, whom(addressed)) == (None, [("owner@a.example", "nobody@a.example")])
    assert addressed.forwardings[0].decision.refusal == NO_SUCH_MAILBOX


# ---- Loops and sizes


@pytest.mark.parametrize(
    "entries",
    [
        [alias("loop", "Loop@a.example")],
        [alias("loop", "b@a.example"), alias("b", "loop@a.example")],
        [mailing_list("loop", "loop@a.example")],
        [Moved("loop@a.example", "loop@a.example", True)],
    ],
)
def test_name_that_leads_only_to_itself_is_refused(entries: list[Entry]) -> None:
    assert house(*entries).resolve(SENDER, Recipient("loop@a.example")).reply == LEADS_NOWHERE


def test_loops_are_cut() -> None:
    here = house(alias("a", "b@a.example", "x@b.example"), alias("b", "a@a.example", "b@a.example", "y@b.example"))
    assert whom(here.resolve(SENDER, Recipient("a@a.example"))) == [(SENDER, "y@b.example"), (SENDER, "x@b.example")]


@pytest.mark.parametrize(("names", "served"), [(addressing.DEEPEST, True), (addressing.DEEPEST + 1, False)])
def test_depth_is_bounded(names: int, served: bool) -> None:
    chain = [alias(f"n{number}", f"n{number + 1}@a.example") for number in range(names)]
    addressed = house(*chain, *users(f"n{names}")).resolve(SENDER, Recipient("n0@a.example"))
    assert addressed.reply == (None if served else EXPANSION_TOO_LARGE)
    assert addressed.is_refused is not served


@pytest.mark.parametrize("surplus", [0, 1])
def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch, surplus: int) -> None:
    monkeypatch.setattr(addressing, "MOST_NAMES", 100)
    members = [f"u{number}@b.example" for number in range(99 + surplus)]
    addressed = house(mailing_list("big", *members)).resolve(SENDER, Recipient("big@a.example"))
    assert addressed.reply == (EXPANSION_TOO_LARGE if surplus else None)
    assert len(addressed.forwardings) == (0 if surplus else 99)


def test_many_ways_to_the_same_names_are_bounded() -> None:
    layers = [
        alias(f"n{depth}-{number}", *(f"n{depth + 1}-{below}@a.example" for below in range(40)))
        for depth in range(15)
        for number in range(40)
    ]
    # 40 to the power of 15 ways, over 24,000 edges.
    assert house(*layers, complete=False).resolve("", Recipient("n0-0@a.example")).reply == EXPANSION_TOO_LARGE


LOCALS = [f"n{number}" for number in range(8)]
MEMBERS = [f"{local}@a.example" for local in LOCALS] + [
    "N1@A.example",
    "x@b.example",
    "X@b.example",
    "z@refused.example",
]
members = st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=5).map(tuple)
owners = st.sampled_from(["o1@a.example", "o2@b.example", "n3@a.example", SENDER])


@st.composite
def directories(draw: st.DrawFn) -> list[Entry]:
    entries: list[Entry] = []
    for local in draw(st.sets(st.sampled_from(LOCALS))):
        address = f"{local}@a.example"
        match draw(st.integers(0, 3)):
            case 0:
                entries.append(User(address))
            case 1:
                entries.append(Alias(address, draw(members)))
            case 2:
                entries.append(MailingList(address, draw(members), draw(owners)))
            case _:
                entries.append(Moved(address, draw(st.sampled_from(MEMBERS)), draw(st.booleans())))
    return entries


def test_case_is_no_difference_in_our_domains_even_where_a_name_is_not_listed() -> None:
    here = house(alias("all", "u@a.example", "U@A.example"), complete=False)
    assert whom(here.resolve("", Recipient("all@a.example"))) == [("", "u@a.example")]


@settings(deadline=None, max_examples=300)
@given(directories(), st.booleans(), st.sampled_from(["", SENDER]), st.sampled_from(MEMBERS))
def test_any_directory_is_expanded_to_ends_each_once(
    entries: list[Entry], complete: bool, sender: str, address: str
) -> None:
    here = house(*entries, complete=complete)
    addressed = here.resolve(sender, Recipient(address, "SUCCESS"))
    owned = {entry.owner for entry in entries if isinstance(entry, MailingList)}
    pairs = whom(addressed)
    ours = [(path, who.lower() if who.lower().endswith("@a.example") else who) for path, who in pairs]
    assert len(set(ours)) == len(ours)
    assert addressed.is_refused == (addressed.reply is not None and not addressed.reply.is_positive)
    for one in addressed.forwardings:
        entry = here.find(one.recipient.address)
        assert entry is None or isinstance(entry, User) or (isinstance(entry, Moved) and not entry.forward)
        assert one.reverse_path in ({sender} | owned if sender else {""})
        assert (one.decision.hop is None) == (one.decision.refusal is not None)
        assert one.decision == here.decide(one.reverse_path, one.recipient.address)
        if addressed.expanded is Expanded.ALIAS or one.reverse_path != sender:
            assert "SUCCESS" not in one.recipient.notify
