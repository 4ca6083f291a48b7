"""`python -m bench`."""

from bench.verbs import main

main()
