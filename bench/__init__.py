"""The benchmark: this relay beside Postfix, on 127.0.0.1, in runs that visit each of them in turn.

Figures of one machine drift by half within minutes; only ratios within a run mean something. So all relays are started
first and stay up, every repeat visits each, and what is printed are medians, with the least and the greatest, and the
median of the ratios within the repeats. Each relay has a sink of its own; every message has a number, and a run in
which one was lost, doubled, altered or refused is void.

`verbs` is what the command line can say; `trials` what is measured under load, `standing` what is measured at rest or
with a queue; `lanes` brings relays up, each with its sink; `peers` and `postfix` know how one is configured, started
and told to go on; `load` drives the generator and the sink, `generate.c` and `sink.c` (with `wire.c` below them), which
`build` compiles; `ledger` reads what both wrote down; `measure` counts CPU, memory and system calls; `tables` prints.
"""
