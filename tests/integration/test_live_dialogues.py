"""Every dialogue of tests/dialogues, played against the daemon over a socket, inside TLS where it says so."""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dialogue import Dialogue, all_dialogues, play
from dialogue_ground import HOSTNAME, client_address, configuration, listener, whole, write_files
from peers.clients import Talk
from peers.daemon import Relay, running_relay
from peers.ground import Loopback, free_port


class Encrypting(Talk):
    """A connection on which TLS can begin at any time."""

    def __init__(self, address: str, port: int, source: str, tls: ssl.SSLContext) -> None:
        super().__init__(address, port, source)
        self._tls = tls

    def encrypt(self) -> None:
        self._file.close()
        self._socket = self._tls.wrap_socket(self._socket, server_hostname=HOSTNAME)
        self._file = self._socket.makefile("rb")

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


Meet = Callable[[dict[str, str]], Encrypting]


@pytest.fixture(scope="module")
def meet(tmp_path_factory: pytest.TempPathFactory, loopback: Loopback) -> Iterator[Meet]:
    """Connects to the listener that a dialogue of certain settings needs.

    One relay for each way in which relays as a whole differ, with a listener for each way in which these do.
    """
    address = loopback.address()
    everything = [dialogue.settings for dialogue in all_dialogues()]
    relays: dict[tuple[int, int], tuple[Relay, list[dict[str, Any]]]] = {}
    opened = []

    def start(kind: tuple[int, int]) -> tuple[Relay, list[dict[str, Any]]]:
        ways = [{"tls": "none", "auth": "none"}]  # the first greets in the clear, for who waits for the relay
        for settings in everything:
            if whole(settings) == kind and listener(settings) not in ways:
                ways.append(listener(settings))
        folder = tmp_path_factory.mktemp("dialogues")
        write_files(folder)
        ports: list[int] = []
        while len(ports) < len(ways):
            ports = [*dict.fromkeys([*ports, free_port(address)])]
        entries = [{"address": f"{address}:{port}", **way} for port, way in zip(ports, ways, strict=True)]
        relay = Relay(folder, address, ports[0], configuration(*kind, entries))
        opened.append(running_relay(relay))
        opened[-1].__enter__()
        return relay, ways

    def connect(settings: dict[str, str]) -> Encrypting:
        kind = whole(settings)
        if kind not in relays:
            relays[kind] = start(kind)
        relay, ways = relays[kind]
        entry = relay.settings["listen"][ways.index(listener(settings))]
        port = int(entry["address"].rpartition(":")[2])
        talk = Encrypting(address, port, client_address(settings), tls_of(relay.folder, "certificate" in settings))
        if settings.get("tls") == "implicit" and "proxy" not in settings:
            talk.encrypt()
        return talk

    yield connect
    for one in opened:
        one.__exit__(None, None, None)


def tls_of(folder: Path, shows_certificate: bool) -> ssl.SSLContext:
    """A client's side of TLS, which believes the authority of these files and nobody else."""
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    if shows_certificate:
        context.load_cert_chain(folder / "client.pem")
    return context


@pytest.mark.parametrize("dialogue", all_dialogues(), ids=lambda dialogue: dialogue.name)
def test_dialogue_over_a_socket(dialogue: Dialogue, meet: Meet) -> None:
    with meet(dialogue.settings) as talk:
        play(dialogue, talk)
        assert talk.rest() == b"", "sent, but not expected"
