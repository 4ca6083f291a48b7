"""The `mta` command: an operator's view of a relay, one file for each group of verbs. It works beside a running one."""

import gc
import io
import os
import sys
from pathlib import Path


def main() -> None:
    """Run `mta` with the words of the command line, and exit. By the name of sendmail, mailq or newaliases it is those.

    Status 0: done; 1: not done, and a sentence on standard error says why; 2: used wrongly.
    """
    gc.disable()  # until the command has been imported: to look for garbage among modules takes a seventh of that time
    name = Path(sys.argv[0]).name
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not stop a listing
    if name in ("sendmail", "mailq", "newaliases"):
        from mta.cli.sendmail import run

        sys.exit(run(sys.argv[1:], name))
    if sys.argv[1:2] == ["start"]:
        from mta.net.early import hold_back

        hold_back()
    from mta.cli.program import program  # here, so that naming this package costs nothing

    try:
        program(prog_name="mta")
    except OSError as error:  # standard output is a file on a full disk, say; click takes care of broken pipes
        # What is left of the output would fail once more at the end, with a status of the interpreter's.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        sys.exit(f"mta: {error.strerror}")
