"""Asking the DNS: a resolver that never fails, its cache, and its twin in memory.

`resolver.ThreadedResolver` joins the parts: `cache` holds and coalesces, `servers` asks (it blocks, so in threads),
`hosts` knows what /etc/hosts says, `answers` are the rules that the twin `memory.MemoryResolver` shares.
`inquirer.Inquirer` is for whoever looks into what a domain has published, and may wait for it: every kind of record.
"""
