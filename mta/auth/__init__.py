"""Logging in, on both sides: SASL mechanisms, where accounts come from, and what slows guessing down.

**A client logs in here.** `Authentication` offers what some account can use. An `Exchange` runs the steps of a
mechanism, which yields challenges, and then evidence: a password, or a proof that it has looked at itself. The `Judge`
counts the attempt (`guessing`), lets it wait, and believes the evidence or not, by the file of accounts or, for names
that are not in it, by Dovecot. Names cannot be probed: who is unknown costs as much time, gets a salt for SCRAM that is
always the same, and is refused with the same words. Inside TLS a login by SCRAM can be bound to its connection
(`mta.net.channel`).

**We log in upstream.** `Logins` chooses the strongest mechanism that is safe on the connection.

| Module | |
|---|---|
| `authentication`, `exchange`, `judge` | what is offered; one AUTH under way; whether it is believed |
| `steps`, `mechanisms`, `scram` | the mechanisms of the server, as generators |
| `prepared`, `passwords` | names and passwords in one form; checking them |
| `guessing`, `remembered` | failures that make the next login slower; successes that make it faster |
| `accounts`, `dovecot`, `dovecot_connection`, `dovecot_lines` | where accounts come from |
| `logins`, `client` | the other side |
"""
