"""The language: SMTP and LMTP, both sides, as data in and data out. No sockets, no clock, standard library only.

`server.ServerSession` speaks for the side that is asked, since the peer decides what comes next; the generators of
`opening` and `client` speak for the side that asks. Addresses, replies and content are values that both use.

| Module | |
|---|---|
| `server`, `states`, `events` | a session; which command may come when; what it tells its owner |
| `settings`, `extensions` | what a session offers and demands; what each extension adds |
| `framing`, `parser`, `command` | from octets to lines, to commands |
| `parameters`, `notification`, `xclient` | the values that stand in commands, strictly read |
| `replies`, `name_replies` | everything the server says; of local names |
| `opening`, `client`, `steps`, `login` | until mail may flow; the mail; what these yield; AUTH |
| `asking`, `allowance`, `answers` | what is said to a server with these extensions; how much it allows; its replies |
| `batch` | a transaction as one text |
| `address`, `ip`, `reply`, `content`, `xtext`, `limits` | what both sides use |
"""
