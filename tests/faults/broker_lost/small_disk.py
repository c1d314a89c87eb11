"""A disk of a few megabytes for a broker's data, which a test fills and frees: a tmpfs of its own.

Owns the mount and the file that fills it. Must not know what else writes there. Called by the tests of this folder.
"""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING, Self

from tests.broker.jars import tool

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = bytes(64 * 1024)


class SmallDiskError(RuntimeError):
    """The disk cannot be mounted; the message says what is needed."""


class SmallDisk:
    """A mounted tmpfs. As a context manager it is mounted on entry, and gone with all its files on exit."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        """Nothing is mounted yet."""
        self.folder = folder
        self._megabytes = megabytes
        self._filler = folder / "filler"

    def __enter__(self) -> Self:
        """Mount.

        Raises:
            SmallDiskError: this process may not mount.

        """
        self.folder.mkdir(parents=True)
        command = [tool("mount"), "-t", "tmpfs", "-o", f"size={self._megabytes}m,mode=700", "tmpfs", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"a full disk needs a small one, and only root may mount it: {done.stderr.strip()}"
            raise SmallDiskError(message)
        return self

    def __exit__(self, *_: object) -> None:
        """Unmount, even while something still has a file open."""
        subprocess.run([tool("umount"), "--lazy", str(self.folder)], check=True)

    def fill(self) -> int:
        """Take every byte that is left; returns how many that were."""
        taken = 0
        with self._filler.open("ab", buffering=0) as filler:
            while True:
                try:
                    taken += filler.write(_CHUNK)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    return taken

    def free_bytes(self) -> int:
        """Return how many bytes are left."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def free(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink()
