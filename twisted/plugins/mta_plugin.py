"""Makes `twistd mta` known to Twisted. Nothing here may import the reactor."""

from twisted.application.service import ServiceMaker

mta = ServiceMaker("mta", "mta.options", "A mail transfer agent.", "mta")
