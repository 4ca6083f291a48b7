"""Accepting: from a connection to a message in the spool.

Nothing here knows the rooms behind the seams of `interfaces.py`.

| Module | |
|---|---|
| `door` | counts and bounds connections, and sees them out |
| `proxy` | connections that come through a proxy wait until it has said whose they are |
| `listener` | a port, and what is built for each client |
| `protocol` | octets to the language, answers to the wire, TLS |
| `conversation` | what each command is answered with, with three helpers: |
| `transaction`, `asked` | MAIL and what follows; what its parameters ask for |
| `login` | AUTH |
| `inquiries` | VRFY, EXPN, ETRN |
| `visitor`, `manners`, `house` | what is known of the client; how a listener treats such clients; what all share |
| `reception` | the content, on its way into the spool |
| `dropping` | takes up what users of this machine have left in the drop folder |
| `batches` | one of them: a transaction that is written down, taken as if it were said |
"""
