"""Telling others what happens to mail: events are posted by HTTP, signed, in order, until they have been taken.

`letter` is what is posted, `post` how (treq is loaded with it, where webhooks are configured), `hook` what is posted
when, and what becomes of it. What is owed is kept by the spool (`mta.outbox`). Each event is told at least once: it is
owed until an answer of 2yz is on record, and a crash in between tells it again, with the same id.
"""
