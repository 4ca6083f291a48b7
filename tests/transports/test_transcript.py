"""Dialogues as people read them: bounded, clean, without content and secrets."""

from mta.smtp.reply import Reply
from mta.smtp.steps import Commands, Content, Greeting
from mta.transports.transcript import LINE_LIMIT, LINES_LIMIT, Spoken, transcribe


def test_a_dialogue() -> None:
    sent = Content(iter([b"content"]), 7, 1)
    sent.sent = True
    spoken: list[Spoken] = [
        Greeting(),
        [Reply(220, "", ("mx.example",))],
        Commands(b"EHLO me.example\r\n"),
        [Reply(250, "", ("mx.example", "AUTH PLAIN"))],
        Commands(b"AUTH PLAIN c2VjcmV0\r\n", secret=True),
        [Reply(535, "5.7.8", ("no", "not you"))],
        Commands(b"MAIL FROM:<a\x1bb@c>\r\n", b"DATA\r\n"),
        [Reply(250, "2.1.0", ("",))],
        [Reply(354, "", ("go",))],
        sent,
        Content(iter([b"content"]), 7, 1),
    ]
    assert transcribe(spoken) == (
        "S: 220 mx.example",
        "C: EHLO me.example",
        "S: 250-mx.example",
        "S: 250 AUTH PLAIN",
        "C: (secret)",
        "S: 535-5.7.8 no",
        "S: 535 5.7.8 not you",
        "C: MAIL FROM:<a?b@c>",
        "C: DATA",
        "S: 250 2.1.0 ",
        "S: 354 go",
        "C: (content of 7 octets)",
        "C: (the beginning of a content of 7 octets)",
    )


def test_a_long_dialogue_keeps_its_beginning_and_its_end() -> None:
    commands = Commands(*(b"%d " % number + b"x" * 2000 + b"\r\n" for number in range(200)))
    lines = transcribe([commands])
    assert len(lines) == LINES_LIMIT
    assert lines[19].startswith("C: 19 ")
    assert lines[20] == "(141 lines left out)"
    assert lines[21].startswith("C: 161 ")
    assert lines[-1].startswith("C: 199 ")
    assert {len(line) for line in lines if line != lines[20]} == {LINE_LIMIT}
    exactly = [Commands(b"NOOP\r\n")] * LINES_LIMIT
    assert transcribe(exactly) == ("C: NOOP",) * LINES_LIMIT
