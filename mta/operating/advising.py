"""Advising: explain, doctor, forecast and audit, for the console and the API; each as the command prints it as JSON.

Called in threads. What takes long ends early where the relay is being stopped.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from threading import Event
from typing import Any, Final

from zope.interface import implementer

from mta.config.model import Config
from mta.config.problems import ConfigError
from mta.message.envelope import format_queue_id
from mta.operating.asking import ask
from mta.operating.audit import audit
from mta.operating.doctor.examination import LIMIT, examined
from mta.operating.explained import explanation_to_json
from mta.operating.explaining import explain_at_once
from mta.operating.forecast import Forecast
from mta.operating.operator import opened
from mta.spool.matching import Selection
from mta.web.seams import IAdviser, NotDone, NotThere, Unusable

_COMMAND: Final = "from mta.cli import main; main()"
_LONGEST: Final = 30.0  # seconds for a forecast
_MOST_SAID: Final = 2000  # characters of why there is none


@implementer(IAdviser)
class Adviser:
    """Of one relay, by one configuration; what is under way ends by it, whatever is in force meanwhile."""

    def __init__(self, config: Config, now: Callable[[], float] = time.time, stopping: Event | None = None) -> None:
        """stopping: is set where what is under way is to end soon."""
        self._config = config
        self._now = now
        self._stopping = stopping or Event()

    def explain(self, address: str, sender: str, client: str) -> dict[str, Any]:
        """What would become of a mail, as `mta explain --json` prints it; "" for a usual sender or client."""
        config, now = self._config, self._now()
        try:
            question = ask(config, address, sender or None, client or None)
        except ValueError as error:
            raise Unusable(str(error)) from None
        except ConfigError as error:
            raise NotDone(str(error)) from None
        with opened(config.spool) as desk:
            return explanation_to_json(explain_at_once(config, question, now, desk.outlook))

    def doctor(self, domain: str, seconds: float = LIMIT) -> dict[str, Any]:
        """Whether the relay is ready for the world, as `mta doctor --json` prints it; "" for its own domains. seconds:
        that it may take.
        """
        try:
            return examined(self._config, domain, self._go_on, seconds)
        except ValueError as error:
            raise Unusable(str(error)) from None

    def audit(self, seconds: float) -> dict[str, Any]:
        """What has become of what came in for so many seconds, as `mta audit --json` prints it."""
        now = self._now()
        with opened(self._config.spool) as desk:
            return audit(desk, now - seconds, now, self._config.history, self._go_on).to_json()

    def forecast(self, number: int | None, limit: int) -> dict[str, Any]:
        """When the mail in the queue is going to be tried, warned about and returned, as `mta forecast --json` prints
        it. number: of one message; None for the oldest ones, up to a limit.

        In a process of its own: it is work for the processor that the mail would have to wait for, in this one.
        """
        with opened(self._config.spool) as desk:
            if number is not None and not desk.queue(Selection(ids=frozenset({number})), limit=1):
                raise NotThere(f"there is no message {format_queue_id(number)} in the queue")
            if number is None and not desk.totals().messages:
                return Forecast(self._now(), []).to_json()
        words = ["forecast", "--json", "--limit", str(limit), "--old", self._config.sources.file]  # ours
        words += [] if number is None else [format_queue_id(number)]
        command = [sys.executable, "-P", "-c", _COMMAND, *words]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # the same program as ours
        try:
            done = subprocess.run(  # noqa: S603  ourselves
                command, capture_output=True, timeout=_LONGEST, check=False, env=environment, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            raise NotDone(f"it was not done in {_LONGEST:.0f} seconds; ask for fewer messages") from None
        if done.returncode:
            raise NotDone(done.stderr.decode(errors="replace").strip().removeprefix("mta: ")[:_MOST_SAID])
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _go_on(self, *_: object) -> None:
        """Raises `NotDone` where the relay is being stopped."""
        if self._stopping.is_set():
            raise NotDone("the relay is being stopped")
