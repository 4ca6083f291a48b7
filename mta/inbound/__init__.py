"""Accepting: from a connection to a message in the spool.

`door` counts and bounds, `listener` builds, `protocol` feeds octets to the language and answers to the wire,
`conversation` decides what each command is answered with, `reception` hands the content to the spool. They know the
seams of `interfaces.py`, never the rooms behind them.
"""
