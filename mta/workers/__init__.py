"""Workers: several processes as one relay, for `workers:` of more than one.

The process that was started becomes the supervisor. It holds the listening sockets, has the workers started, has one
that has died or hangs started again, and stops them all. Each worker has a relay of its own on its own queue file
(`mta.ground.Place` says which); it knows of the others by what it was given.

`supervisor` is the service, `family` and `worker` are the other processes as it sees them, `parent` is what workers are
forked from, `process` what runs in one, `orders` what it is told, `lines` how they talk. `pulse` finds one
that hangs. `hatch` is what clients are handed in by, and `neighbours` passes them on to a worker that has fewer.
"""
