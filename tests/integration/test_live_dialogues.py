"""Every dialogue of tests/dialogues, played against the relay over a socket."""

import re
from collections.abc import Callable, Iterator

import pytest
from dialogue import FOLDER, Dialogue, Expect, Send, all_dialogues, play
from peers.clients import Talk
from peers.daemon import Relay, running_relay
from peers.ground import Loopback, free_port

MAY_RELAY = "127.66.0.9"
UNKNOWN = re.compile(r"unknown[\w.-]*@example\.org")
QUEUE_ID = re.compile(r"queued as ID\d+")

At = Callable[[dict[str, str]], tuple[str, int, str]]


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory, loopback: Loopback) -> Iterator[At]:
    """Where a dialogue of certain settings is to be played: address, port and the client's own address.

    Relays are told apart by the size of messages, their listeners by `bare_lf`; who may relay is treated leniently.
    """
    address = loopback.address()
    strangers = sorted({one for path in FOLDER.glob("*.txt") for one in UNKNOWN.findall(path.read_text())})
    relays: dict[str, Relay] = {}
    opened = []

    def find(settings: dict[str, str]) -> tuple[str, int, str]:
        size = settings.get("message_size", "0")
        if size not in relays:
            strict, fixing = free_port(address), free_port(address)
            chosen = {
                "hostname": "mail.example.org",
                "listen": [
                    {"address": f"{address}:{strict}", "tls": "none"},
                    {"address": f"{address}:{fixing}", "tls": "none", "bare_lf": "fix"},
                ],
                "relay": {"networks": [f"{MAY_RELAY}/32"], "domains": ["example.org"]},
                "routes": [
                    *({"to": one, "via": "550 5.1.1 no such user here"} for one in strangers),
                    {"to": "*", "via": "discard"},
                ],
                "limits": {"recipients": 5, "message_size": int(size)},
            }
            relay = Relay(tmp_path_factory.mktemp("dialogues"), address, strict, chosen)
            opened.append(running_relay(relay))
            relays[size] = opened[-1].__enter__()
        listener = relays[size].settings["listen"][settings.get("bare_lf") == "fix"]
        client = MAY_RELAY if settings.get("lenient") == "yes" else ""
        return address, int(listener["address"].rpartition(":")[2]), client

    yield find
    for one in opened:
        one.__exit__(None, None, None)


@pytest.mark.parametrize("dialogue", all_dialogues(), ids=lambda dialogue: dialogue.name)
def test_dialogue_over_a_socket(dialogue: Dialogue, at: At) -> None:
    address, port, client = at(dialogue.settings)
    steps: list[Send | Expect] = [
        step if isinstance(step, Send) else step._replace(pattern=QUEUE_ID.sub("queued as …", step.pattern))
        for step in dialogue.steps
    ]
    with Talk(address, port, client) as talk:
        play(dialogue._replace(steps=steps), talk)
        assert talk.rest() == b"", "sent, but not expected"
