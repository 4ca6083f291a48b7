"""Wiring: the parts of a relay, made from what its configuration says, so that they can be made anew while it runs.

`lasting` is what a relay has for as long as it runs. `onward` and `inward` are what it has of one configuration: how
mail goes on, how mail comes in. Both are values, made whole beside those that are in force, and then put in their
place (`Relay.adopt`): a session and a delivery go on with what they began with, so nothing on their way asks whether
there is something newer. `reloading` reads the files again and says what came of it, `changes` what is different,
`retired` looks after what was replaced, `trouble` has the sentences for what cannot be done.
"""
