"""Decisions, as pure functions: what is known goes in, what is to be done comes out, together with the reasons.

Time is an argument in seconds since 1970, chance a `random.Random`, so that what is hard to get right is tested as
`f(x) == y`, and `mta explain` prints what the real path thought.
"""
