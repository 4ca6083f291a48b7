"""What stands behind a route's `via`."""

import pytest

from mta.policy.routing import Hop, Via
from mta.policy.via import parse_via
from mta.smtp.reply import Reply


@pytest.mark.parametrize(
    ("written", "onward"),
    [
        ("mx", Hop(Via.MX)),
        ("discard", Hop(Via.DISCARD)),
        ("smtp://Smart.Example", Hop(Via.SMTP, "smart.example", 25)),
        ("smtp://smart.example:587/", Hop(Via.SMTP, "smart.example", 587)),
        ("smtp://192.0.2.1", Hop(Via.SMTP, "192.0.2.1", 25)),
        ("smtp://[192.0.2.1]:26", Hop(Via.SMTP, "192.0.2.1", 26)),
        ("smtp://[2001:DB8::1]", Hop(Via.SMTP, "2001:db8::1", 25)),
        ("smtp://mail_relay:2525", Hop(Via.SMTP, "mail_relay", 2525)),
        ("smtps://smart.example", Hop(Via.SMTPS, "smart.example", 465)),
        ("lmtp://127.0.0.1", Hop(Via.LMTP, "127.0.0.1", 24)),
        ("lmtp+unix:/run/dovecot/lmtp", Hop(Via.LMTP_UNIX, path="/run/dovecot/lmtp")),
        ("lmtp+unix:///run/dovecot/lmtp", Hop(Via.LMTP_UNIX, path="/run/dovecot/lmtp")),
        ("550 5.7.1 go away", Reply(550, "5.7.1", ("go away",))),
        ("450 later", Reply(450, "4.7.1", ("later",))),
        ("550", Reply(550, "5.7.1", ("not accepted here",))),
        ("550 5.1.6", Reply(550, "5.1.6", ("not accepted here",))),
    ],
)
def test_ways_onward(written: str, onward: Hop | Reply) -> None:
    assert parse_via(written) == onward


@pytest.mark.parametrize(
    "written",
    ["", "MX", "smtp", "smtp:", "smtp://", "smtp:smart.example", "[smart.example]:587", "smart.example", "http://a.example",
     "smtp://a.example:", "smtp://a.example:0", "smtp://a.example:65536", "smtp://a.example/b", "smtp://::1", "smtp://[::1",
     "smtp://[:::]", "smtp://[a.example]", "smtp://user@a.example", "smtp://a b", "smtp://-a", "lmtp+unix:", "lmtp+unix://",
     "250 ok", "354", "5500", "560 x", "550 4.7.1 x", "450 5.7.1 x", "550 2.0.0 x", "550 9.9.9 x", "550 5.7.1 ü",
     "550 5.7.1 " + "x" * 401, "550 a\r\n250 b", "550  5.7.1 x", "421 4.3.2 bye"],
)  # fmt: skip
def test_what_leads_nowhere(written: str) -> None:
    with pytest.raises(ValueError):
        parse_via(written)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("smpt://a.example", 'did you mean "smtp://HOST"?'),
        ("smtp", 'did you mean "smtp://HOST"?'),
        ("lmtp+unix", r'did you mean "lmtp\+unix:PATH"?'),
        ("discrad", 'did you mean "discard"?'),
        ("smtp://2001:db8::1", r"in brackets: smtp://\[2001:db8::1\]"),
        ("550 4.7.1 x", "does not begin with 5"),
        ("smtp://u:p@a.example", "entry of logins"),
    ],
)
def test_hints(written: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        parse_via(written)


def test_hops_come_back_from_their_names() -> None:
    for written in ("smtp://smart.example:587", "smtp://[2001:db8::1]:25", "lmtp://127.0.0.1:24", "lmtp+unix:/run/l"):
        hop = parse_via(written)
        assert isinstance(hop, Hop)
        assert hop.destination == written
