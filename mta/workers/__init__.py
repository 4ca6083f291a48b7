"""Workers: several processes as one relay, for `workers:` of more than one.

The process that was started becomes the supervisor. It holds the listening sockets, starts the workers, starts one that
has died again, and stops them all. Each worker is a fresh interpreter with a relay of its own on its own queue file
(`mta.service.Place` says which); it knows of the others by what it was given.

`supervisor` is the service, `worker` one process as the supervisor sees it, `orders` what a worker is told, `process`
what runs in it.
"""
