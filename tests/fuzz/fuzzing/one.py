"""One target under atheris, which makes up inputs that reach what none has reached. Arguments are libFuzzer's own."""

import sys

import atheris

RECORDED = 8.0  # times that the program is slower when each of its lines is recorded

with atheris.instrument_imports(include=["mta"]):
    from targets import TARGETS

from targets.measures import have_patience  # noqa: E402  behind what is recorded
from targets.pumping import grows_as_it_should, read  # noqa: E402


def main() -> None:
    """The first argument is the target's name."""
    name = sys.argv.pop(1)
    have_patience(RECORDED)
    atheris.Setup(sys.argv, check_of(name), enable_python_coverage=True)
    atheris.Fuzz()


def check_of(name: str):  # type: ignore[no-untyped-def]
    """What is done with each input."""
    if name != "pumped":
        return TARGETS[name].check
    targets = tuple(TARGETS.values())
    return lambda octets: grows_as_it_should(*read(octets, targets))


if __name__ == "__main__":
    main()
