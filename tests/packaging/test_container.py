"""The container's files say what they should; there is no Docker here that would build it."""

import re
from pathlib import Path
from typing import Any

import yaml

from mta.config.load import load

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def service() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text(encoding="utf-8"))["services"]["mta"]
    return found


def test_its_configuration_is_good_and_no_open_relay() -> None:
    config = load(ROOT / "etc/container.yml")
    assert str(config.spool) == "/var/lib/mta/spool"
    assert not config.access().may_relay("172.17.0.1"), "through Docker's proxy every client comes from there"


def test_it_is_shut_in() -> None:
    asked = service()
    assert asked["read_only"] is True
    assert asked["cap_drop"] == ["ALL"]
    assert asked["security_opt"] == ["no-new-privileges:true"]
    assert "queue:/var/lib/mta" in asked["volumes"]
    user = re.search(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0
    assert re.search(r"^HEALTHCHECK", DOCKERFILE, re.MULTILINE)


def test_ports_lead_to_a_listener() -> None:
    inside = {port.rpartition(":")[2] for port in service()["ports"]}
    listeners = {str(one.address.port) for one in load(ROOT / "etc/container.yml").listen}
    assert inside <= listeners
    assert inside == set(re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE))


def test_what_is_copied_is_let_through() -> None:
    passed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    for words in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for source in words.split()[:-1]:
            assert source in passed
            assert (ROOT / source).exists()
