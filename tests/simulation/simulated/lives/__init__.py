"""Lives: what a relay goes through in some hours or up to thirty days, all of it drawn from a seed.

`plan` draws a life, `senders` hand mail over, `peers` take it or do not, `troubles` come over network, DNS, disk, clock
and machine, `life` plays it, `audit` holds what was promised against what came of it, `bugs` are planted to see whether
all that finds anything, `harvest` plays many lives in several processes.
"""
