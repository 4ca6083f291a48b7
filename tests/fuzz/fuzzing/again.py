"""One input again, without atheris: tests/fuzz/replay TARGET FILE. Exit status 1 where it is a finding."""

import sys
import traceback
from pathlib import Path

import corpus
from targets import TARGETS
from targets.measures import examine, examine_memory
from targets.pumping import grows_as_it_should, pumped, read


def is_finding(name: str, octets: bytes) -> bool:
    """Is something wrong with what the target makes of it? Says what."""
    try:
        if name == "pumped":
            grows_as_it_should(*read(octets, tuple(TARGETS.values())))
        else:
            examine(TARGETS[name], octets)
            examine_memory(TARGETS[name], octets)
    except Exception:
        traceback.print_exc()
        return True
    return False


def main() -> int:
    """The program."""
    if len(sys.argv) != 3 or sys.argv[1] not in (*TARGETS, "pumped"):
        print(f"usage: tests/fuzz/replay TARGET FILE\ntargets: pumped {' '.join(TARGETS)}", file=sys.stderr)
        return 2
    name, octets = sys.argv[1], Path(sys.argv[2]).read_bytes()
    if name == "pumped":
        target, begin, pump, end = read(octets, tuple(TARGETS.values()))
        print(f"{target.name}: {begin!r} {pump!r}… {end!r}, {len(pumped(target.largest, begin, pump, end))} octets")
    else:
        print(f"{name}: {corpus.written(octets)}")
    found = is_finding(name, octets)
    print("a finding" if found else "nothing wrong")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
