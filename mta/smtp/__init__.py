"""The language: SMTP and LMTP, both sides, as data in and data out. No sockets, no clock, standard library only.

`server.ServerSession` speaks for the side that is asked, since the peer decides what comes next; the generators of
`client` speak for the side that asks. Addresses, commands, replies and content are values that both use.
"""
