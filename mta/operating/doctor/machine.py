"""Machine: the clock, the disk of the spool, the number of files: what this host is like."""

import ctypes
import os
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mta.operating.doctor.finding import Finding, Teller
from mta.operating.words import size

_TIMEX_SIZE: Final = 256  # octets: more than struct timex of adjtimex(2) has
_MAXERROR_AT: Final = 24
_STATUS_AT: Final = 40
_ERROR: Final = 5  # TIME_ERROR, what adjtimex(2) returns for a clock that nothing keeps right
_UNSYNCED: Final = 0x40  # STA_UNSYNC
_TOLERABLE: Final = 60.0  # seconds; signatures and dates that are further off are doubted

_LEAST_FREE: Final = 1 << 30  # octets
_FLOOR: Final = 100 << 20  # octets, below which the relay takes no mail
_LEAST_INODES: Final = 10_000
_SYNCS: Final = 15
_SYNC_TIME: Final = 3.0  # seconds for all of them
_BLOCK: Final = bytes(16 * 1024)
_SLOW: Final = 0.05  # seconds for a sync
_VERY_SLOW: Final = 0.5

_OTHER_DESCRIPTORS: Final = 256  # beside those of clients: files, look-ups, next hops
_VOLATILE: Final = ("tmpfs", "ramfs")
_REMOTE: Final = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs")


class Clock(NamedTuple):
    """What the kernel says of its clock. error: the most that it may be off by, in seconds."""

    is_synchronised: bool
    error: float


class Disk(NamedTuple):
    """The disk of the spool. free, whole: octets. inodes: that are free; None where it does not count them.

    kind: of its file system. sync: seconds that a small write takes to be on it, the median; None where that could
    not be measured, and why then says why.
    """

    free: int
    whole: int
    inodes: int | None
    kind: str
    sync: float | None
    why: str = ""


def read_clock() -> Clock | None:
    """Ask the kernel (adjtimex(2), which changes nothing here); None where it does not say."""
    buffer = ctypes.create_string_buffer(_TIMEX_SIZE)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (AttributeError, OSError):
        return None
    if state < 0 or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    (error,) = struct.unpack_from("q", buffer, _MAXERROR_AT)
    (status,) = struct.unpack_from("i", buffer, _STATUS_AT)
    return Clock(state != _ERROR and not status & _UNSYNCED, error / 1e6)


def judge_clock(clock: Clock | None) -> Finding:
    """The clock, as far as it can be known without asking others."""
    teller = Teller("clock", "")
    if clock is None:
        return teller.unknown("the kernel does not say whether the clock is kept right", "see that NTP keeps it so")
    if not clock.is_synchronised:
        return teller.warning(
            "the kernel knows of nothing that keeps the clock right; dates, retries, signatures and certificates "
            "depend on it",
            "run an NTP client, such as chrony or systemd-timesyncd (timedatectl set-ntp true); in a container, see "
            "that its host does",
        )
    return teller.ok(f"it is kept right, to within {max(clock.error, 0.001):.3f} s by the kernel's estimate")


def judge_other_clock(ahead: float, whose: str) -> Finding | None:
    """Our clock beside that of somebody else, who has answered with the date. ahead: seconds, ours before theirs."""
    if abs(ahead) <= _TOLERABLE:
        return None
    how = "ahead of" if ahead > 0 else "behind"
    return Teller("clock", "").problem(
        f"it is {abs(ahead):.0f} s {how} that of {whose}", "compare it with a third one, and set it right (NTP)"
    )


def measure_disk(spool: Path, clock: Callable[[], float] = time.perf_counter) -> Disk:
    """Look at the disk of the spool, and write a file there a few times, which is removed again. Raises `OSError`."""
    folder = next(one for one in (spool, *spool.parents) if one.is_dir())
    status = os.statvfs(folder)
    inodes = status.f_favail if status.f_files else None
    sync: float | None = None
    why = ""
    if folder == spool:
        try:
            sync = _time_sync(folder, clock)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
    else:
        why = "the folder is not there yet"
    mounts = Path("/proc/self/mountinfo")
    kind = file_system(folder.resolve(), mounts.read_text("utf-8", "replace")) if mounts.exists() else ""
    return Disk(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize, inodes, kind, sync, why)


def _time_sync(folder: Path, clock: Callable[[], float]) -> float:
    path = folder / f".doctor-{os.getpid()}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    took: list[float] = []
    try:
        path.unlink()  # at once, so that nothing is left of it, whenever we are killed
        began = clock()
        while len(took) < _SYNCS and clock() - began < _SYNC_TIME:
            before = clock()
            os.write(descriptor, _BLOCK)
            os.fdatasync(descriptor)
            took.append(clock() - before)
    finally:
        os.close(descriptor)
    return sorted(took)[len(took) // 2]


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that a path is on, by the lines of /proc/self/mountinfo (proc(5)); "" for not known."""
    kind, deepest = "", -1
    for line in mounts.splitlines():
        here, _, about = line.partition(" - ")
        fields = here.split(" ")
        if len(fields) < 5 or not about:
            continue
        point = Path(fields[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= deepest:
            kind, deepest = about.split(" ")[0], len(point.parts)
    return kind


def judge_disk(spool: Path, disk: Disk) -> list[Finding]:
    """The disk of the spool."""
    teller = Teller("disk", str(spool))
    found = []
    if disk.kind in _VOLATILE:
        found.append(
            teller.problem(
                f"it is on {disk.kind}, which is memory: a restart of the machine loses all mail in the queue",
                "move the spool to a disk",
            )
        )
    elif disk.kind in _REMOTE:
        found.append(
            teller.warning(
                f"it is on {disk.kind}, where locks and syncs may not hold what SQLite counts on",
                "move the spool to a disk of this machine",
            )
        )
    if disk.free < _FLOOR:
        found.append(
            teller.problem(f"{size(disk.free)} is free, with which no mail is taken", "make room, or move the spool")
        )
    elif disk.free < _LEAST_FREE:
        found.append(teller.warning(f"{size(disk.free)} of {size(disk.whole)} is free", "make room, or move the spool"))
    if disk.inodes is not None and disk.inodes < _LEAST_INODES:
        found.append(teller.warning(f"there are {disk.inodes:,} inodes left", "remove small files from that disk"))
    if disk.sync is None:
        found.append(
            teller.unknown(
                f"how fast it syncs could not be measured: {disk.why}", "run this as root or as the relay's user"
            )
        )
    elif disk.sync > _SLOW:
        tell = teller.problem if disk.sync > _VERY_SLOW else teller.warning
        found.append(
            tell(
                f"a sync takes {disk.sync * 1000:.0f} ms, and each 250 waits for one",
                "use a faster disk (SSD), or see what else is busy with it",
            )
        )
    if found:
        return found
    assert disk.sync is not None
    inodes = "" if disk.inodes is None else f", {disk.inodes:,} inodes"
    return [
        teller.ok(f"{size(disk.free)} of {size(disk.whole)} is free{inodes}; a sync takes {disk.sync * 1000:.1f} ms")
    ]


def descriptor_limit() -> int | None:
    """How many files a process that is started as this one may open at most; None for any number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def judge_descriptors(limit: int | None, connections: int) -> Finding:
    """The files that a process may open, to which the relay raises its limit. connections: as in limits."""
    teller = Teller("descriptors", "")
    if limit is not None and limit < connections + _OTHER_DESCRIPTORS:
        return teller.problem(
            f"a process started from here may open {limit:,} files, too few for limits.connections ({connections:,})",
            f"raise the hard limit (ulimit -Hn, LimitNOFILE=) to {connections + _OTHER_DESCRIPTORS:,}, or lower that",
        )
    many = "any number of" if limit is None else f"{limit:,}"
    return teller.ok(f"a process started from here may open {many} files, enough for {connections:,} connections")
