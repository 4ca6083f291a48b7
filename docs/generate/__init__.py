"""What of the documentation is made from the program, so that it cannot say anything else: `make docs`.

schema      etc/mta.schema.json, from the model of the configuration: what editors check a file against
reference   docs/configuration.md and mta.yml(5), from that schema and the examples in examples.yml
commands    mta(1) and a page for each command, from what --help is made of
mdoc        how manual pages are written

Schema and configuration.md are kept in the tree, and a test fails where they are stale. Manual pages are made into
build/man.
"""
