"""Carrying: how mail gets from here to one next hop, over sessions that are kept and used again.

`smtp.SmtpTransport` and `lmtp.LmtpTransport` carry a message: an open session of `pool`, else the places that `search`
finds one after the other, connected by `connector`, and made ready by `opener`: introduction, TLS, login. `session`
drives the generators of `mta.smtp.opening` and `mta.smtp.client` over a Twisted connection, and `transcript` keeps what
was said. `parcel` makes the message up for what a host takes, with `fitting`, which converts content; `errand` keeps
account of what became of each recipient meanwhile. What went wrong is an outcome, never an exception. `memory` is the
twin for tests of whoever hands mail to a transport.
"""
