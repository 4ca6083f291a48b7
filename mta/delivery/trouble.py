"""Trouble: what the log is told when the spool could not do what was asked of it."""

from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.interfaces import SpoolBroken, SpoolFull

_logger = Logger()


def report(failure: Failure, what: str) -> None:
    """A line where the spool says itself what is the matter; a traceback where it is a bug. what: was not done."""
    if failure.check(SpoolFull, SpoolBroken):
        _logger.error("{what}: {why}", what=what, why=failure.getErrorMessage())
    else:
        _logger.failure("{what}", failure, what=what)
