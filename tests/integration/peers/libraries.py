"""Clients that are libraries: Python's smtplib, Perl's Net::SMTP and nodemailer for Node.js."""

import json
import smtplib
import ssl
from pathlib import Path

import pytest

from .commands import PATIENCE, run
from .ground import tool
from .submission import ANY, HELO, Desk, Letter, Sent, Way

HERE = Path(__file__).parent
NODE_MODULES = HERE.parents[1] / "node" / "node_modules"


def python(desk: Desk, letter: Letter) -> Sent:
    """The standard library's smtplib."""
    trust = ssl.create_default_context(cafile=str(desk.papers.authority))
    implicit = desk.way is Way.IMPLICIT
    client = (
        smtplib.SMTP_SSL(desk.address, desk.port, HELO, timeout=PATIENCE, context=trust)
        if implicit
        else smtplib.SMTP(desk.address, desk.port, HELO, timeout=PATIENCE)
    )
    with client:
        if desk.way is Way.STARTTLS:
            client.starttls(context=trust)
        try:
            if desk.mechanism == ANY:
                client.login(desk.user, desk.password)
            elif desk.mechanism:
                client.user, client.password = desk.user, desk.password
                respond = getattr(client, f"auth_{desk.mechanism.lower().replace('-', '_')}")
                client.ehlo()
                client.auth(desk.mechanism, respond)
            mail, rcpt = ["BODY=8BITMIME"], []
            if letter.dsn:
                mail += [f"RET={letter.dsn.returned}", f"ENVID={letter.dsn.envelope_id}"]
                rcpt += [f"NOTIFY={letter.dsn.notify}"]
            if not (letter.sender + letter.recipient).isascii():
                mail += ["SMTPUTF8"]
            client.sendmail(letter.sender, [letter.recipient], letter.content, mail, rcpt)
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as refused:
            return Sent(1, str(refused))
    return Sent(0, "")


def perl(desk: Desk, letter: Letter) -> Sent:
    """Net::SMTP of the Perl distribution, which logs in with Authen::SASL and has TLS from IO::Socket::SSL."""
    return run([tool("perl", "perl"), HERE / "send.pl"], _order(desk, letter))


def nodemailer(desk: Desk, letter: Letter) -> Sent:
    """What most of what runs on Node.js sends with."""
    if not (NODE_MODULES / "nodemailer").is_dir():
        pytest.fail("needs the npm package nodemailer (tests/install-peers installs it below tests/node)")
    return run([tool("node", "nodejs"), HERE / "send.cjs", NODE_MODULES], _order(desk, letter))


def _order(desk: Desk, letter: Letter) -> bytes:
    """What a script of another language is told on its standard input."""
    message = desk.folder / "message.eml"
    message.write_bytes(letter.content)
    order = {
        "host": desk.address,
        "port": desk.port,
        "helo": HELO,
        "timeout": PATIENCE,
        "way": desk.way,
        "mechanism": desk.mechanism,
        "any": desk.mechanism == ANY,
        "user": desk.user,
        "password": desk.password,
        "authority": str(desk.papers.authority),
        "certificate": str(desk.papers.user_certificate),
        "key": str(desk.papers.user_key),
        "sender": letter.sender,
        "recipient": letter.recipient,
        "message": str(message),
        "dsn": letter.dsn._asdict() if letter.dsn else None,
    }
    return json.dumps(order).encode()
