"""What webhooks are told with is there before rights are given away, for workers that cannot read the program."""

import subprocess
import sys

import pytest

# Whoever asks the parent to serve is told what has been loaded, in place of it.
SCRIPT = """
import socket, sys
from mta.workers import parent
parent._Parent.serve = lambda self: print("mta.webhooks.post" in sys.modules, "twisted.internet.reactor" in sys.modules)
ours, theirs = socket.socketpair()
parent.main([str(theirs.detach()), *sys.argv[1:]])
"""


@pytest.mark.parametrize(("words", "loaded"), [([], "False False"), (["webhooks"], "True False")])
def test_the_parent_of_workers_loads_it_where_there_are_some(words: list[str], loaded: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loaded
