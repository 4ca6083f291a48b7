"""For all tests. Its place makes what lies beside it importable: `dns_server` and other helpers."""

import signal

from hypothesis import settings

# What pytest and xdist ask a conftest for:
from side_by_side import pytest_configure, pytest_xdist_auto_num_workers, pytest_xdist_make_scheduler

from mta.net.poller import the_reactor

__all__ = ["pytest_configure", "pytest_xdist_auto_num_workers", "pytest_xdist_make_scheduler"]

# A shell has its background jobs ignore ctrl-C, and so would the relays that are started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

the_reactor()  # before a test imports Twisted's: they run on the relay's own

# A machine that is busy with other things must not fail a property.
settings.register_profile("mta", deadline=None)
settings.load_profile("mta")
