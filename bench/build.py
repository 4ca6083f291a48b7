"""Build: the generator and the sink, compiled when they are first needed, and again when their sources change."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE / ".build"
NO_COMPILER = "bench: there is no C compiler (cc) to build the generator with: install the Debian package gcc"
NO_TLS = "TLS needs OpenSSL's headers for the generator: install the Debian package libssl-dev"


@functools.cache
def program(name: str) -> Path:
    """The file of `generate` or `sink`. Ends the bench, with a sentence, where it cannot be built."""
    built = BUILT / name
    sources = [HERE / f"{name}.c", *(HERE / file for file in ("wire.c", "wire.h", "ledger.h"))]
    if built.exists() and has_tls() == (BUILT / f"{name}.tls").exists():
        made = built.stat().st_mtime
        if all(source.stat().st_mtime < made for source in sources):
            return built
    if not shutil.which("cc"):
        raise SystemExit(NO_COMPILER)
    BUILT.mkdir(exist_ok=True)
    making = BUILT / f"{name}.{os.getpid()}"  # others may want it at the same time, and never half of it
    command: list[str | Path] = ["cc", "-O2", "-Wall", "-Wextra", "-o", making, sources[0], sources[1]]
    command += ["-DWITH_TLS", "-lssl", "-lcrypto"] if has_tls() else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {name}.c cannot be built (is the Debian package libc6-dev there?):\n{done.stderr}")
    mark = BUILT / f"{name}.tls"
    if has_tls():
        mark.touch()
    else:
        mark.unlink(missing_ok=True)
    making.replace(built)
    return built


@functools.cache
def has_tls() -> bool:
    """OpenSSL's headers are there; a machine without them measures everything but TLS."""
    if not shutil.which("cc"):
        raise SystemExit(NO_COMPILER)
    looked = subprocess.run(
        ["cc", "-E", "-o", "/dev/null", "-"], input=b"#include <openssl/ssl.h>\n", capture_output=True
    )
    return looked.returncode == 0
