"""Restart: `mta restart`, the program that runs replaced by the one that is on disk by now, with nobody refused."""

import json
import socket
from pathlib import Path
from typing import Any, Final

import click

from mta.cli.common import NotDone, configured
from mta.cli.opening import configuration
from mta.wiring.control import short_path

MOST: Final = 120.0  # seconds: a rehearsal, what is under way, the start with a large queue


@click.command()
@configured
def restart(config_file: str | None) -> None:
    """Start the running relay anew, with nobody refused: after an upgrade, or for keys that a reload cannot change.

    First the relay has the program rehearse a start. Where that could not go well, it says why and goes on as it is,
    exit status 1. Else it ends as it does on SIGTERM, and the program begins in the same process; clients who connect
    meanwhile wait. This command ends when the relay is there again. SIGUSR2 to the process does the same.
    """
    spool = configuration(config_file).spool
    before = _ask(spool, "tell")
    reasons = _ask(spool, "restart").get("reasons", ())
    if reasons:
        raise NotDone("\n".join(reasons), prefix="not restarted: ")
    now = _ask(spool, "tell")
    was = f", before {before['version']}" if before["version"] != now["version"] else ""
    click.echo(f"restarted: version {now['version']}{was}, process {now['process']}")


def _ask(spool: Path, what: str) -> dict[str, Any]:
    """What the relay of this spool answers. Raises `NotDone` where it does not."""
    try:
        with short_path(spool) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as relay:
            relay.settimeout(MOST)
            relay.connect(path)
            relay.sendall(json.dumps({"do": what}).encode() + b"\n")
            with relay.makefile("rb") as answers:
                answer = answers.readline()
    except TimeoutError:
        raise NotDone(f"the relay of the spool {spool} does not answer; its log may say why") from None
    except PermissionError:
        raise NotDone(f"only root and the relay's own user may restart the relay of the spool {spool}") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotDone(f"no relay is running with the spool {spool}, so there is none to restart") from None
    except OSError as error:
        raise NotDone(f"the relay of the spool {spool} cannot be asked: {error.strerror}") from None
    if not answer:
        raise NotDone("the relay has ended, and did not begin again; its log says why")
    told: dict[str, Any] = json.loads(answer)
    return told
