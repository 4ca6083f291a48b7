"""What the tests of the package share: it is built once."""

import sys
from pathlib import Path

import pytest
from building import DEBIAN, PYTHON, run


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `make deb` builds it."""
    folder = tmp_path_factory.mktemp("deb")
    return Path(run(sys.executable, DEBIAN / "build.py", "--output", folder).strip())


@pytest.fixture(scope="session")
def upgrade(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a higher version with one line changed in the program. Its file has the same name elsewhere."""
    folder = tmp_path_factory.mktemp("changed")
    run("dpkg-deb", "--raw-extract", package, folder)
    control = folder / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("Version: ", "Version: 1:"))
    changed = folder / f"usr/lib/mta/lib/{PYTHON}/site-packages/mta/cli/__init__.py"
    changed.write_text(changed.read_text() + "\n# changed\n")
    made = tmp_path_factory.mktemp("upgrade")
    return Path(run("dpkg-deb", "--build", "-Znone", "--root-owner-group", folder, made).split("'")[3])
