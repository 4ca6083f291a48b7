"""Building: the package, and Debian roots that it is tried in."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "debian"
PYTHON = Path("/usr/bin/python3").resolve().name  # of the release, as python3.11
RELEASE = platform.freedesktop_os_release()["VERSION_CODENAME"]
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")


def run(*command: str | Path, timeout: int = 280, **environment: str) -> str:
    """Run a command to its end; what it said, on both."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with status {done.returncode}\n{done.stdout}"
    return done.stdout


def tool(name: str, package: str) -> str:
    path = shutil.which(name)
    assert path is not None, (
        f"there is no {name} here; it comes with the package {package} (tests/install-peers --soak)"
    )
    return path


def make_root(folder: Path, packages: str) -> Path:
    """A Debian with these packages, separated by commas, and nothing else. It is of the release that is here."""
    assert os.geteuid() == 0, "a root of one's own needs root"
    root = folder / "debian"
    sources = [SOURCES] if SOURCES.exists() else []
    run(tool("mmdebstrap", "mmdebstrap"), "--variant=minbase", f"--include={packages}", RELEASE, root, *sources)
    folder.chmod(0o755)
    return root
