"""For all tests. Its place makes what lies beside it importable: `dns_server` and other helpers."""

import signal

from hypothesis import settings

from mta.net.poller import the_reactor

# A shell has its background jobs ignore ctrl-C, and so would the relays that are started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

the_reactor()  # before a test imports Twisted's: they run on the relay's own

# A machine that is busy with other things must not fail a property.
settings.register_profile("mta", deadline=None)
settings.load_profile("mta")
