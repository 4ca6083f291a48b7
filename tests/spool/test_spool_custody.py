"""The spool is ours alone: whatever the umask is, whoever plants links, and whoever else could write in it."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from spools import SqliteWorld, clock_at_start
from test_spool_faults import LARGE

from mta.interfaces import SpoolBroken
from mta.spool.custody import examine
from mta.spool.disk import Disk

STRANGER = 54321  # a user that there is not


@pytest.fixture(params=[0o000, 0o022, 0o777], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A spool that has been used and closed, with a large content in it."""
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    world.commit(content=LARGE)
    world.close()
    return world.folder


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


def test_everything_is_private_whatever_the_umask_is(tmp_path: Path, umask: None) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    world.commit(content=LARGE)
    world.commit()
    found = modes(tmp_path)
    world.close()
    assert {"spool", "spool/queue-0.db", "spool/queue-0.db-wal", "spool/queue-0.lock", "spool/content/0"} < set(found)
    folders = {name for name in found if (tmp_path / name).is_dir()}
    assert {found[name] for name in folders} == {0o700}
    assert {mode for name, mode in found.items() if name not in folders} == {0o600}


def by_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def by_second_name(path: Path, elsewhere: Path) -> None:
    path.hardlink_to(elsewhere)


def by_pipe(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


def by_folder(path: Path, elsewhere: Path) -> None:
    path.mkdir()


FILES = ("queue-0.db", "queue-0.db-wal", "queue-0.lock", "queue-0.write", "queue-1.db")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (by_link, "is a link"),
        (by_second_name, "has a second name"),
        (by_pipe, "is not a file"),
        (by_folder, "is not a file"),
    ],
)
def test_what_is_planted_in_place_of_a_file_is_refused_and_left_as_it_is(
    spool: Path, tmp_path: Path, name: str, plant: Callable[[Path, Path], None], reason: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o640)
    (spool / name).unlink(missing_ok=True)
    plant(spool / name, victim)
    with pytest.raises(SpoolBroken, match=rf"{name} {reason}"):
        SqliteWorld(clock_at_start(), spool)
    assert victim.read_text() == "precious"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["content", "content/0"])
def test_folders_are_not_followed_either(spool: Path, tmp_path: Path, name: str) -> None:
    (spool / name).rename(tmp_path / "elsewhere")
    (spool / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolBroken, match=f"{name} is a link"):
        SqliteWorld(clock_at_start(), spool)


@pytest.mark.parametrize("plant", [by_link, by_pipe, by_folder])
def test_a_content_that_is_no_file_is_not_read_and_nobody_is_waited_for(
    spool: Path, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    [content] = (spool / "content" / "0").iterdir()
    content.rename(tmp_path / "victim")
    plant(content, tmp_path / "victim")
    failed: list[OSError] = []

    def read() -> None:
        try:
            list(Disk().read(content))
        except OSError as error:
            failed.append(error)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(5)
    assert len(failed) == 1


def test_a_new_content_never_goes_through_what_is_there(spool: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (spool / "content" / "0" / "NAME").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        Disk().create(spool / "content" / "0" / "NAME")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("plant", [by_link, by_second_name, by_pipe])
def test_a_lock_is_neither_written_nor_given_away_through_what_is_planted(
    tmp_path: Path, plant: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root would, for a command, in a folder that belongs to the relay's user."""
    given: list[int] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda descriptor, user, group: given.append(user))
    (tmp_path / "victim").write_text("precious")
    plant(tmp_path / "queue-0.lock", tmp_path / "victim")
    with pytest.raises(OSError, match=r"queue-0\.lock"):
        Disk().lock(tmp_path / "queue-0.lock")
    assert given == []
    assert (tmp_path / "victim").read_text() == "precious"


class Owned(Disk):
    """A disk on which some names belong to somebody else."""

    def __init__(self, owners: dict[str, int]) -> None:
        self._owners = owners

    def status(self, path: Path) -> os.stat_result | None:
        found = super().status(path)
        if found is None or path.name not in self._owners:
            return found
        return os.stat_result([*found[:4], self._owners[path.name], *found[5:]])


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """We are whoever owns the files of this test, and are not root."""
    me = os.getuid() or STRANGER + 1
    real = os.lstat

    def lstat(path: Path) -> os.stat_result:
        found = real(path)
        return os.stat_result([*found[:4], me, *found[5:]])

    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(os, "lstat", lstat)


@pytest.mark.parametrize("name", ["spool", "queue-0.db", "content"])
def test_what_belongs_to_somebody_else_is_refused(spool: Path, name: str, as_user: None) -> None:
    assert examine(spool, Disk()) == []
    with pytest.raises(SpoolBroken, match=rf"{name} belongs to {STRANGER}, and this relay runs as .*; .* chown "):
        examine(spool, Owned({name: STRANGER}))


def test_root_is_trusted_with_folders_but_its_files_are_of_no_use(spool: Path, as_user: None) -> None:
    assert examine(spool, Owned({"spool": 0, "content": 0})) == []
    with pytest.raises(SpoolBroken, match=r"queue-0\.db belongs to root"):
        examine(spool, Owned({"queue-0.db": 0}))


def test_root_is_told_whose_spool_it_uses(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    names = [path.name for path in spool.rglob("*")]
    theirs = Owned(dict.fromkeys(["spool", *names], STRANGER))
    assert examine(spool, theirs) == [
        f"the spool {spool} belongs to {STRANGER}, and this relay runs as root; start it with --uid {STRANGER}"
    ]
    with pytest.raises(SpoolBroken, match=f"queue-0.db belongs to {STRANGER + 5}, "):
        examine(spool, Owned({"spool": STRANGER, "queue-0.db": STRANGER + 5}))


@pytest.mark.parametrize("name", ["", "queue-0.db", "content/0"])
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_what_everybody_can_write_is_refused(spool: Path, name: str, mode: int) -> None:
    (spool / name).chmod(mode)
    with pytest.raises(SpoolBroken, match=rf"can be written by everybody on this machine; say: chmod go-w {spool}"):
        SqliteWorld(clock_at_start(), spool)


def test_what_a_group_can_write_is_said(spool: Path) -> None:
    for name in ("", "queue-0.db"):
        (spool / name).chmod(0o770)
    said = examine(spool, Disk())
    assert said == [
        f"the spool {spool} can be written by a group; say: chmod g-w {spool}",
        f"{spool / 'queue-0.db'} can be written by a group; say: chmod g-w {spool / 'queue-0.db'}",
    ]


def test_names_that_are_not_ours_are_left_alone(spool: Path, tmp_path: Path) -> None:
    (spool / "notes").symlink_to(tmp_path)
    (spool / "content" / "lost+found").mkdir(mode=0o777)
    assert examine(spool, Disk()) == []
