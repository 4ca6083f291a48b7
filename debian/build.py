"""Build: `make deb`, a Debian package of mta for the machine that builds it, with dpkg-deb and nothing else.

What Debian has of Twisted is too old, so the package brings an environment of its own, below /usr/lib/mta: the program
and what it needs, from wheels alone. The interpreter is Debian's, so a package is for one release; the compiler is not
asked.

    python debian/build.py [--version 0.2.0-1] [--constraints FILE] [--output FOLDER]

The same commit with the same versions of what it needs gives the same package, octet for octet: every time in it is
SOURCE_DATE_EPOCH, by default that of the commit. The versions are in the package, as constraints for pip, in
/usr/share/doc/mta/constraints.txt. Status 1 where it cannot be built, and a sentence says why.
"""

import argparse
import configparser
import gzip
import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from email.message import Message
from email.parser import HeaderParser
from email.utils import formatdate
from pathlib import Path
from string import Template
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"  # the release's own: `build` sees to it
HOME: Final = "usr/lib/mta"
PROGRAMS: Final = ("mta", "twistd")
SCRIPTS: Final = ("postinst", "prerm", "postrm")
NOT_OURS: Final = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "dropin.cache", "tests")
OURS: Final = ("mta", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")  # what a wheel is made of


class CannotBuild(Exception):
    """The package cannot be built; the text says why, and what to do."""


def run(*command: str | Path, folder: Path = ROOT, **environment: str) -> str:
    """Run a command to its end; what it printed. Raises `CannotBuild`."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(  # noqa: S603  our own words
            words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise CannotBuild(f"there is no {words[0]} here; it is in Debian's package dpkg") from None
    if done.returncode:
        raise CannotBuild(f"{' '.join(words)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def epoch() -> int:
    """The time of everything in the package, in seconds since 1970."""
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told is not None:
        if not told.isdecimal():
            raise CannotBuild(f"SOURCE_DATE_EPOCH is a number of seconds since 1970, not {told!r}")
        return int(told)
    try:
        return int(run("git", "log", "-1", "--format=%ct"))
    except (CannotBuild, ValueError):
        raise CannotBuild("this is no git checkout, which would have a time; set SOURCE_DATE_EPOCH") from None


def version_here() -> str:
    """The version of the program in setup.cfg, as Debian writes it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return f"{setup['metadata']['version']}-1"


def release() -> str:
    """The name of the Debian release that is here: bookworm, say."""
    try:
        return platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError):
        return "unstable"


def maintainer() -> str:
    """Whom to ask about the package: who builds it, if that is said as Debian's tools have it."""
    name, address = os.environ.get("DEBFULLNAME", "The mta authors"), os.environ.get("DEBEMAIL", "mta@example.org")
    return f"{name} <{address}>"


def write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file, and the folders that lead to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def zipped(content: bytes) -> bytes:
    """As Debian has manual pages and changelogs: without a name and a time of its own."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def install_program(stage: Path, scratch: Path, constraints: Path | None) -> list[Message]:
    """Make the environment; the metadata of all that is in it, by name."""
    source = scratch / "source"
    for name in OURS:  # a copy, so that nothing stale gets in and nothing is left in the checkout
        one = ROOT / name
        shutil.copytree(one, source / name, ignore=NOT_OURS) if one.is_dir() else shutil.copy(one, source / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", scratch, source, folder=scratch)
    [wheel] = scratch.glob("mta-*.whl")

    home = stage / HOME
    run(sys.executable, "-m", "venv", "--without-pip", "--symlinks", home)
    limits = ("--constraint", constraints) if constraints is not None else ()
    run(
        *(*pip[:3], "--python", home / "bin" / "python", *pip[3:], "install", "--no-compile", "--only-binary=:all:"),
        *(*limits, wheel),
        folder=scratch,
    )
    shutil.rmtree(home / "include", ignore_errors=True)
    (home / "lib64").unlink(missing_ok=True)
    for one in (home / "bin").iterdir():
        if one.name not in PROGRAMS:
            one.unlink()
    # Debian's interpreter; -I, since what root runs must not depend on anybody's PYTHONPATH.
    for name in PROGRAMS:
        program = home / "bin" / name
        _, _, body = program.read_text(encoding="utf-8").partition("\n")
        write(program, f"#!/{HOME}/bin/python -I\n{body}", 0o755)
    (home / "bin" / "python").symlink_to(f"../../../bin/{PYTHON}")
    write(home / "pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
    packages = home / "lib" / PYTHON / "site-packages"
    shutil.rmtree(packages / "apsw" / "sqlite_extra_binaries", ignore_errors=True)  # tools, and large
    for one in packages.rglob(".gitignore"):
        one.unlink()
    for one in packages.glob("*.dist-info"):
        for name in ("RECORD", "REQUESTED", "direct_url.json"):  # pip's own books; dpkg keeps them now
            (one / name).unlink(missing_ok=True)
        write(one / "INSTALLER", "dpkg\n")
    read = HeaderParser().parsestr
    found = [read(one.read_text(encoding="utf-8")) for one in packages.glob("*.dist-info/METADATA")]
    return sorted(found, key=lambda one: one["Name"].lower())


def oldest_libc(home: Path) -> str:
    """The version of the C library that the wheels were built for: the highest that one of them names."""
    tags = [one.read_text(encoding="utf-8") for one in home.glob("lib/*/site-packages/*.dist-info/WHEEL")]
    named = re.findall(r"manylinux_(\d+)_(\d+)_", "".join(tags))
    return ".".join(map(str, max(((int(major), int(minor)) for major, minor in named), default=(2, 34))))


def install_documents(stage: Path, version: str, at: int, contents: Sequence[Message]) -> None:
    """What is read: licence, changelogs, pages, manual pages, completion, examples."""
    share = stage / "usr" / "share"
    doc = share / "doc" / "mta"
    licences = "\n".join(
        f" {one['Name']} {one['Version']}: {one['License-Expression'] or licence_of(one)}"
        for one in contents
        if one["Name"] != "mta"
    )
    write(doc / "copyright", Template((HERE / "copyright").read_text(encoding="utf-8")).substitute(others=licences))
    pins = "".join(f"{one['Name']}=={one['Version']}\n" for one in contents if one["Name"] != "mta")
    write(doc / "constraints.txt", pins)
    entry = (
        f"mta ({version}) {release()}; urgency=medium\n\n  * See /usr/share/doc/mta/changelog.gz.\n\n"
        f" -- {maintainer()}  {formatdate(at)}\n"
    )
    write(doc / "changelog.Debian.gz", zipped(entry.encode()))
    write(doc / "changelog.gz", zipped((ROOT / "CHANGELOG.md").read_bytes()))
    write(doc / "README.md", (ROOT / "README.md").read_bytes())
    for one in sorted((ROOT / "docs").glob("*.md")):
        write(doc / "docs" / one.name, one.read_bytes())
    for one in sorted(path for path in (ROOT / "etc").rglob("*") if path.is_file() and "systemd" not in path.parts):
        write(doc / "examples" / one.relative_to(ROOT / "etc"), one.read_bytes())
    write(share / "mta" / "mta.schema.json", (ROOT / "etc" / "mta.schema.json").read_bytes())


def licence_of(metadata: Message) -> str:
    """What an older package says of its licence."""
    classes = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License")]
    return ", ".join(classes) or (metadata["License"] or "see its dist-info").splitlines()[0]


def install_manual(stage: Path) -> None:
    """The manual pages, made from what the program says of itself, and the completions of three shells."""
    pages = stage.parent / "man"
    run(sys.executable, "-m", "docs.generate", "man", pages)
    share = stage / "usr" / "share"
    for page in sorted(pages.iterdir()):
        write(share / "man" / f"man{page.suffix[1:]}" / f"{page.name}.gz", zipped(page.read_bytes()))
    for name in ("man8/sendmail.8", "man1/mailq.1", "man1/newaliases.1"):
        link = share / "man" / f"{name}.gz"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to("../man1/mta-sendmail.1.gz" if name.startswith("man8") else "mta-sendmail.1.gz")
    for shell, place in (
        ("bash", "bash-completion/completions/mta"),
        ("zsh", "zsh/vendor-completions/_mta"),
        ("fish", "fish/vendor_completions.d/mta.fish"),
    ):
        code = "from mta.cli import main; main()"
        write(share / place, run(sys.executable, "-c", code, _MTA_COMPLETE=f"{shell}_source"))


def install_system(stage: Path) -> None:
    """What the system looks for at places of its own: commands, configuration, unit, user."""
    for folder in ("bin", "lib"):
        (stage / "usr" / folder).mkdir(parents=True, exist_ok=True)
    (stage / "usr" / "bin" / "mta").symlink_to("../lib/mta/bin/mta")
    write(stage / "usr" / "sbin" / "sendmail", '#!/bin/sh\nexec /usr/bin/mta sendmail "$@"\n', 0o755)
    (stage / "usr" / "lib" / "sendmail").symlink_to("../sbin/sendmail")
    write(stage / "usr" / "bin" / "mailq", '#!/bin/sh\nexec /usr/bin/mta sendmail -bp "$@"\n', 0o755)
    # There is no table of aliases to be built: the directory is read as it is. Programs call it all the same.
    write(stage / "usr" / "bin" / "newaliases", "#!/bin/sh\nexit 0\n", 0o755)
    write(stage / "etc" / "mta" / "mta.yml", (HERE / "mta.yml").read_bytes())
    write(
        stage / "usr" / "lib" / "sysusers.d" / "mta.conf", (ROOT / "etc" / "systemd" / "mta.sysusers.conf").read_bytes()
    )
    for unit in sorted(one for one in (ROOT / "etc" / "systemd").iterdir() if one.suffix in (".service", ".socket")):
        text = unit.read_text(encoding="utf-8")
        while text.startswith("#"):  # how it is put in place by hand
            _, _, text = text.partition("\n")
        write(stage / "lib" / "systemd" / "system" / unit.name, text.lstrip("\n").replace("/opt/mta/", f"/{HOME}/"))
    write(stage / "usr" / "share" / "lintian" / "overrides" / "mta", (HERE / "lintian-overrides").read_bytes())


def finish(stage: Path, version: str, at: int) -> None:
    """The control files, and everything's mode and time."""
    control = stage / "DEBIAN"
    files = [path for path in walk(stage) if path.is_file() and not path.is_symlink()]
    for path in walk(stage):
        if path.is_symlink():
            continue
        runs = path.is_dir() or (
            path.stat().st_mode & stat.S_IXUSR and path.suffix != ".so" and ".so." not in path.name
        )
        path.chmod(0o755 if runs else 0o644)
    sums = "".join(
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(stage)}\n"
        for path in files
        if path.relative_to(stage).parts[0] != "etc"
    )
    fields = {
        "version": version,
        "architecture": run("dpkg", "--print-architecture").strip(),
        "size": sum(-(-path.stat().st_size // 1024) for path in files),
        "libc": oldest_libc(stage / HOME),
        "python": PYTHON,
        "maintainer": maintainer(),
    }
    write(control / "control", Template((HERE / "control").read_text(encoding="utf-8")).substitute(fields))
    write(control / "md5sums", sums)
    write(control / "conffiles", "/etc/mta/mta.yml\n")
    write(control / "templates", (HERE / "templates").read_bytes())
    for name in SCRIPTS:
        write(control / name, (HERE / name).read_bytes(), 0o755)
    control.chmod(0o755)
    for path in (*walk(stage), stage):
        os.utime(path, (at, at), follow_symlinks=False)


def walk(folder: Path) -> Iterator[Path]:
    """Everything below a folder, in an order that is always the same."""
    return iter(sorted(folder.rglob("*")))


def build(version: str, constraints: Path | None, output: Path) -> Path:
    """Build the package; its file. Raises `CannotBuild`."""
    debians = Path("/usr/bin/python3").resolve().name
    if debians != PYTHON:
        raise CannotBuild(f"Debian has {debians} here, and this is {PYTHON}; make it with PYTHON=/usr/bin/python3")
    at = epoch()
    with tempfile.TemporaryDirectory(prefix="mta-deb-") as folder:
        scratch = Path(folder)
        (stage := scratch / "stage").mkdir()
        contents = install_program(stage, scratch, constraints and constraints.resolve())
        install_system(stage)
        install_documents(stage, version, at, contents)
        install_manual(stage)
        finish(stage, version, at)
        output.mkdir(parents=True, exist_ok=True)
        run(
            *("dpkg-deb", "--build", "--root-owner-group", "-Zxz", "-z3", "--threads-max=1", stage, output.resolve()),
            SOURCE_DATE_EPOCH=str(at),
        )
        architecture = run("dpkg", "--print-architecture").strip()
    return output / f"mta_{version}_{architecture}.deb"


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description="Build a Debian package of mta, for the release that is here.")
    parser.add_argument("--version", default=version_here(), help="its version (default: %(default)s)")
    parser.add_argument("--constraints", type=Path, help="versions of what it needs, as pip reads constraints")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="where to put it (default: dist)")
    told = parser.parse_args()
    if not re.fullmatch(r"\d[\w.+~]*(-[\w.+~]+)?", told.version, re.ASCII):
        parser.error(f"{told.version!r} is no version that Debian takes; say, for example, {version_here()}")
    try:
        print(build(told.version, told.constraints, told.output))  # noqa: T201  what it is for
    except CannotBuild as error:
        sys.exit(f"debian/build.py: {error}")


if __name__ == "__main__":
    main()
