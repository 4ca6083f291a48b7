"""Every reply is well-formed, whoever it is for (RFC 5321 4.2, 4.5.3.1.5; RFC 2034; RFC 3463)."""

import re

import pytest

from mta.smtp import replies
from mta.smtp.extensions import EXTENSIONS
from mta.smtp.limits import REPLY_LINE
from mta.smtp.reply import Reply, render

LONGEST_HOST = "h" * 255
ALL = [value for value in vars(replies).values() if isinstance(value, Reply)] + [
    replies.greeting(LONGEST_HOST),
    replies.helo(LONGEST_HOST),
    replies.ehlo(LONGEST_HOST, [extension.announcement(50 << 20) for extension in EXTENSIONS]),
    replies.bye(LONGEST_HOST),
    replies.queued("0123456789ABC"),
    replies.help_on(""),
    replies.help_on("rcpt"),
    replies.shutting_down(LONGEST_HOST),
    replies.too_many_connections(LONGEST_HOST),
    replies.too_many_from_client(LONGEST_HOST),
    replies.command_timeout(LONGEST_HOST),
    replies.content_timeout(LONGEST_HOST),
    replies.too_many_errors(LONGEST_HOST),
    replies.too_many_idle_commands(LONGEST_HOST),
    replies.endless_line(LONGEST_HOST),
    replies.not_mail(LONGEST_HOST),
    *map(replies.wrong_form, replies.SYNTAX),
    replies.wrong_argument(2048, "why"),
    replies.wrong_sender(2048, "why"),
    replies.wrong_recipient(2048, "why"),
    replies.wrong_parameter("SIZE", "why"),
    replies.unknown_parameter("MAIL", "X" * 2000),
    replies.not_your_address("s" * 254, "bob"),
    replies.etrn_empty(LONGEST_HOST),
    replies.etrn_started(LONGEST_HOST, 1),
    replies.etrn_started(LONGEST_HOST, 1_000_000),
    replies.etrn_failed(LONGEST_HOST),
    replies.etrn_denied(LONGEST_HOST),
    replies.etrn_unknown("#" + "r" * 64),
]


@pytest.mark.parametrize("reply", ALL, ids=str)
def test_well_formed(reply: Reply) -> None:
    lines = render(reply).split(b"\r\n")
    assert lines.pop() == b""
    assert lines
    for line in lines:
        assert len(line) + 2 <= REPLY_LINE
        assert re.fullmatch(rb"[2-5][0-5][0-9][- ][ -~]+", line)
    without_enhanced = reply.code in (220, 354) or (reply.code == 250 and not reply.enhanced)
    assert without_enhanced or re.fullmatch(rf"{reply.code // 100}\.[0-7]\.[0-9]+", reply.enhanced)


def test_help_lists_every_command_and_explains_each() -> None:
    for verb, form in replies.SYNTAX.items():
        assert verb in replies.help_on("").text
        assert replies.help_on(verb.lower()).text == form
    assert replies.help_on("xyzzy") == replies.HELP
