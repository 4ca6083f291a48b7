"""Small things over Twisted's transports that several rooms share.

`tls` shows certificates, `client_tls` judges those of others, `certificates` reads them, `resumption` keeps TLS
sessions, `channel` is what logins inside TLS can be bound to; `proxied` reads PROXY headers; `sockets` listens and
connects, with the `ports` and `connections` of the reactor, which is `poller`; `local` knows this machine's addresses;
`version` tells whether a file has changed; `threads` does what blocks.
"""
