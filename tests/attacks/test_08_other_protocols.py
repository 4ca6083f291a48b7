"""Case 8: a browser, or a page in it, talks to the mail port; TLS that was meant for another server (ALPACA)."""

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from attack_ground import BEGUN, GREETED, Victim, codes
from OpenSSL import SSL

from mta.net.tls import ServerTls

MAIL = [*BEGUN, "DATA", "Subject: cross", "", "text", ".", "QUIT"]
REQUESTS = [
    "GET / HTTP/1.1", "HEAD / HTTP/1.0", "POST /mail HTTP/1.1", "PUT / HTTP/1.1", "DELETE / HTTP/1.1",
    "CONNECT mail.example.org:25 HTTP/1.1", "OPTIONS * HTTP/1.1", "TRACE / HTTP/1.1", "PATCH / HTTP/1.1",
    "PRI * HTTP/2.0", "get / http/1.1",
]  # fmt: skip
FIELDS = ["Host: mail.example.org", "Content-Length: 200", "Origin: http://evil.example.com", "Subject: hello"]


@pytest.mark.parametrize("line", REQUESTS + FIELDS)
@pytest.mark.parametrize("before", [[], [GREETED], list(BEGUN)])
def test_the_session_ends_and_no_mail_in_it_is_taken(tmp_path: Path, line: str, before: list[str]) -> None:
    victim = Victim(tmp_path)
    victim.say(*before)
    assert codes(victim.say(line, "Host: mail.example.org", "", *MAIL)) == ["421"]
    assert victim.closed
    assert victim.claims == []


def test_a_form_whose_fields_are_commands(tmp_path: Path) -> None:
    """multipart/form-data lets a page write whole lines of its own, but none before the request's."""
    victim = Victim(tmp_path, relaying="yes")
    victim.say("POST / HTTP/1.1", "Content-Type: multipart/form-data; boundary=x", "", "--x", "", *MAIL, "--x--")
    assert victim.claims == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    folder = tmp_path_factory.mktemp("tls")
    issued = trustme.CA().issue_cert("mail.example.org")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return ServerTls(folder / "server.pem", folder / "server.pem")


def shake_hands(server: ServerTls, *protocols: str) -> str | None:
    """The protocol that a client and the server agree on by ALPN; `ssl.SSLError` where the server wants none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    to_client, from_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, from_client)
    connection = server.connection()
    connection.set_accept_state()
    for _ in range(5):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            return client.selected_alpn_protocol()
        connection.bio_write(from_client.read())
        with suppress(SSL.Error):  # it waits for more, or has given up and says so
            connection.do_handshake()
        with suppress(SSL.WantReadError):
            to_client.write(connection.bio_read(100_000))
    raise AssertionError("no end")


@pytest.mark.parametrize("protocols", [("http/1.1",), ("h2", "http/1.1"), ("imap",), ("ftp", "pop3"), ("SMTP",)])
def test_tls_for_another_protocol_is_refused(server: ServerTls, protocols: tuple[str, ...]) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol|handshake.failure|internal.error"):
        shake_hands(server, *protocols)
    assert shake_hands(server) is None, "nothing of it is left for the next client"


@pytest.mark.parametrize(("protocols", "agreed"), [((), None), (("smtp",), "smtp"), (("h2", "esmtp"), "esmtp")])
def test_mail_clients_are_welcome(server: ServerTls, protocols: tuple[str, ...], agreed: str | None) -> None:
    assert shake_hands(server, *protocols) == agreed
