"""Compiled: a copy of this program in which its busiest modules are native code, to measure what that is worth.

mypyc compiles them, which comes with mypy: the sources and their types are all that it needs. The copy is whole, with
the text of each module beside its native code, so what is run from it is of one moment, and the checkout stays what it
is. It is made anew when a source has changed, which takes a minute or two of CPU.

What is native is checked for its types as it runs, and cannot be changed from outside: tests that put something else
in the place of what they test are for the text.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
BUILT = HOME / "build/compiled"
_STAMP = "sources.sha256"
NO_MYPYC = "bench: mypyc is missing; `make lint` installs it with mypy"
NO_COMPILER = "bench: there is no C compiler (cc) to compile with: install the Debian packages gcc and python3-dev"

ROOMS = ("smtp", "message", "policy")  # all of these but
TEXT = frozenset(
    {
        "smtp/steps",  # a class made of a named tuple
        "smtp/settings",  # functools.cached_property, which mypyc asks for anew each time
        "policy/routing",
    }
)
OTHERS = {
    "": ("maillog",),
    "inbound": (
        "asked",
        "batches",
        "conversation",
        "door",
        "house",
        "listener",
        "manners",
        "reception",
        "transaction",
        "visitor",
    ),
    "delivery": ("attempt", "counting", "destination", "records", "recorder", "rerouting", "story", "turns"),
    "spool": ("batches", "keeping", "reception", "settling", "store"),
    "transports": ("errand", "lmtp", "parcel", "pool", "smtp"),
    "net": ("measures",),
}


def modules() -> list[str]:
    """The files that are compiled, from the folder of the program on."""
    program = HOME / "mta"
    rooms = [file for room in ROOMS for file in (program / room).glob("[a-z]*.py")]
    others = [program / room / f"{name}.py" for room, names in OTHERS.items() for name in names]
    text = {program / f"{name}.py" for name in TEXT}
    return sorted(str(file.relative_to(HOME)) for file in {*rooms, *others} - text)


def compiled() -> Path:
    """The folder to have first on Python's path, made where it is not there or older than a source.

    Ends the bench, with a sentence, where it cannot be made.
    """
    stamp = _digest()
    if (BUILT / _STAMP).exists() and (BUILT / _STAMP).read_text() == stamp:
        return BUILT
    if not shutil.which("cc"):
        raise SystemExit(NO_COMPILER)
    shutil.rmtree(BUILT, ignore_errors=True)
    for folder in ("mta", "twisted"):
        shutil.copytree(HOME / folder, BUILT / folder, ignore=shutil.ignore_patterns("__pycache__", "*.cache"))
    shutil.copy(HOME / "setup.cfg", BUILT)
    done = subprocess.run([sys.executable, __file__], cwd=BUILT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: it cannot be compiled:\n{(done.stdout + done.stderr)[-4000:]}")
    shutil.rmtree(BUILT / "build")
    (BUILT / _STAMP).write_text(stamp)
    return BUILT


def _digest() -> str:
    """Of what goes into it: all of the program, this file, and the Python that it is for."""
    digest = hashlib.sha256(sys.version.encode())
    for file in (Path(__file__), *sorted((HOME / "mta").rglob("*.py"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _compile() -> None:
    """Compile the modules of the copy that this is run in."""
    try:
        from mypyc.build import mypycify
    except ImportError:
        raise SystemExit(NO_MYPYC) from None
    from setuptools import setup  # type: ignore[import-untyped]

    native = mypycify(
        ["--config-file=setup.cfg", "--ignore-missing-imports", *modules()], opt_level="2", debug_level="0"
    )
    setup(name="compiled", packages=[], py_modules=[], ext_modules=native, script_args=["build_ext", "--inplace"])


if __name__ == "__main__":
    _compile()
