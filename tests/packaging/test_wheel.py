"""The wheel: it holds what it should and nothing else, and a relay runs from it in an empty environment."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IGNORED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "dropin.cache", "tests", "bench")


def run(*command: str | Path, folder: Path) -> str:
    """Run a command to its end; its output. Nothing of this environment leaks into it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(words)} ended with status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing stale gets in and nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=IGNORED)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, "source", folder=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an empty environment in which the wheel was installed, with what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, wheel, folder=folder)
    return python.parent


def test_the_wheel_holds_the_program_its_plugin_and_its_files_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.startswith("twisted/")} == {"twisted/plugins/mta_plugin.py"}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mta", "twisted"}
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mta").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert any(name.startswith("mta/spool/schema/") and name.endswith(".sql") for name in source)
    assert {"mta/web/templates/base.html", "mta/web/static/vendor/htmx.min.js", "mta/web/static/console.css"} <= source
    assert {name for name in names if name.startswith("mta/")} == source


@contextlib.contextmanager
def started(programs: Path, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`twistd mta start` of that environment, in a folder that has nothing to do with the checkout."""
    (folder / "mta.yml").write_text(
        f"hostname: wheel.test\nspool: spool\nlisten: [{{address: '127.0.0.1:{port}'}}]\nadmin: {{listen: null}}\n"
    )
    command = [str(programs / "twistd"), "-n", "--pidfile=", "mta", "start", "--config", "mta.yml"]
    clean = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder)}
    with (
        (folder / "output").open("wb") as output,
        subprocess.Popen(command, cwd=folder, env=clean, stdout=output, stderr=subprocess.STDOUT) as relay,
    ):
        try:
            yield relay
        finally:
            relay.terminate()
            try:
                relay.wait(15)
            finally:
                relay.kill()


def greeting(port: int) -> bytes:
    """What is said there first; nothing where nobody listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return connection.recv(512)
    return b""


def test_a_relay_starts_from_the_wheel_in_an_empty_environment(programs: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    with started(programs, tmp_path, port) as relay:
        end = time.monotonic() + 30
        while not (said := greeting(port)) and relay.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert said.startswith(b"220 wheel.test"), (tmp_path / "output").read_text()
        listing = run(programs / "mta", "queue", "--config", tmp_path / "mta.yml", folder=tmp_path)
        assert listing
    assert relay.returncode in (0, -signal.SIGTERM)  # twistd ends by the signal that it was sent
    where = run(programs / "python", "-c", "import mta; print(mta.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(programs.parent)
