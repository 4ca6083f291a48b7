"""Disks that do not do what is asked of them, under a relay that runs.

`Failing` has system calls fail as strace can have them, for which no rights are needed. `Mounted` is a file system of
its own, in memory or in a file, that really can be full, or read-only, or lose its power; only root can mount one.
"""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

import pytest

from .ground import tool

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN of linux/fs.h, which ext4 has as EXT4_IOC_SHUTDOWN
_WITHOUT_FLUSHING = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: what is not on the device by now never comes there


def failing(calls: str, error: str, first: int, last: int) -> list[str]:
    """Words in front of a command whose system calls fail: in each thread those from the first to the last, from 1."""
    inject = f"inject={calls}:error={error}:when={first}..{last}"
    return [
        tool("strace", "strace"),
        "-f",
        "-qq",
        "-e",
        f"trace={calls}",
        "-e",
        "signal=none",
        "-e",
        inject,
        "-o",
        "trace",
    ]


def _run(*words: str | Path) -> None:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.fail(f"needs root, and the right to mount: {words[0]} says {done.stderr.strip()}")


class Mounted:
    """A file system at a folder. size: octets. image: the file that it is in; None for memory."""

    def __init__(self, folder: Path, size: int, image: Path | None = None) -> None:
        self.folder = folder
        self._image = image
        folder.mkdir()
        if image is None:
            _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", folder)
        else:
            with image.open("wb") as file:
                file.truncate(size)
            _run(tool("mkfs.ext4", "e2fsprogs"), "-q", "-F", image)
            self.mount()

    def mount(self) -> None:
        """Mount the image (again); its journal is replayed."""
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), self.folder)

    def unmount(self) -> None:
        _run("umount", self.folder)

    def forget(self) -> None:
        """It goes away as soon as nobody uses it any more."""
        _run("umount", "--lazy", self.folder)

    def turn_read_only(self) -> None:
        """As the kernel does when it finds a mistake on the device: what is open is not spared."""
        [device] = [
            words[0]
            for line in Path("/proc/mounts").read_text().splitlines()
            if (words := line.split())[1] == str(self.folder)
        ]
        (Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error").write_text("a test\n")

    def cut_power(self) -> None:
        """From this moment nothing more reaches the device, also not what was written, but not synced."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING))
        finally:
            os.close(folder)
