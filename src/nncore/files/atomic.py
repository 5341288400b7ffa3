"""Files that are written as a whole or not at all: under another name beside the target, flushed, then renamed over it.

Only regular files are replaced. A symbolic link stays one: the file it points to is replaced. The mode and, where the
system allows it, the owner of the file before are kept; a new file gets what the umask leaves of 0o666.

A temporary file is locked while it is written, and the lock goes with the process: what can be locked was left by a
killed process, and the next save of the same file removes it.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol

from nncore.core import checks

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

# File systems that cannot flush say so by one of these; a folder that may not be read cannot be opened for it.
CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
KINDS = {
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
}  # fmt: skip
NAME_BYTES = 255  # of a file's name on most systems


class Content(Protocol):
    """Data that write themselves into a file that can be sought in."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def write_to(self, file: BinaryIO) -> None:
        """Write all bytes."""


def write_atomically(path: str | os.PathLike[str], data: bytes | Content) -> None:
    """Write a file as a whole or not at all: until the rename, what was there stays.

    Raises
    ------
    OSError
        If it cannot be written (missing folder, no permission, full disk, not a regular file); the temporary file is
        removed. If only the last step fails, the flush of the folder, the message says that the new file is there.
    TypeError, ValueError
        If path is not the path of a file.
    """
    target, before = regular_target(path)
    size = len(data) if isinstance(data, bytes) else data.size
    with _explained(path, size):
        remove_left(target)
        temporary, handle = _temporary(target, 0o666 if before is None else 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    data.write_to(file)
                file.flush()
                if before is not None:
                    _make_alike(file.fileno(), before)
                _flush(file.fileno())
                if fcntl:  # the lock is held until the name is taken
                    os.replace(temporary, target)
            if not fcntl:
                os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    _flush_folder(path, target.parent)


def append(path: str | os.PathLike[str], data: bytes) -> None:
    """Add bytes to the end of a file, which is made if it is not there.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with _explained(path, len(data)), open(checks.path(path, "path"), "ab", buffering=0) as file:
        while data:  # at once, but for a full disk
            data = data[file.write(data) :]


def regular_target(path: str | os.PathLike[str]) -> tuple[Path, os.stat_result | None]:
    """Return where a file would be written, links followed, and the status of the file that is there now.

    Raises
    ------
    OSError
        If what is there is no regular file or may not be written, or there is no folder.
    TypeError, ValueError
        If path is not the path of a file.
    """
    given = checks.path(path, "path")
    with _explained(path):
        try:
            before = given.stat()
        except FileNotFoundError:
            before = None
        if before is not None:
            if stat.S_ISDIR(before.st_mode):
                raise IsADirectoryError(f"{path} is a folder, expected the name of a file")
            if not stat.S_ISREG(before.st_mode):
                kind = KINDS.get(stat.S_IFMT(before.st_mode), "no regular file")
                raise OSError(f"{path} is {kind}, expected a file, or a name that is not taken: it would be replaced")
            if not os.access(given, os.W_OK):
                raise PermissionError(f"{path} is read-only, expected a file that may be replaced")
        target = given.resolve()
        if not target.parent.is_dir():
            raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}")
    return target, before


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str], size: int | None = None) -> Iterator[None]:
    """Turn the system's error into a sentence with the path and, where there is no room, the bytes needed."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # has its sentence
            raise
        reason = os.strerror(error.errno)
        if error.errno in NO_ROOM and size is not None:
            reason += f"; {size:,} bytes are needed"
            if error.errno == errno.ENOSPC:
                with contextlib.suppress(OSError):
                    reason += f", {shutil.disk_usage(Path(path).resolve().parent).free:,} are free"
        elif error.errno == errno.ENAMETOOLONG:
            reason += f": {len(os.fsencode(Path(path).name))} bytes, expected at most {NAME_BYTES}"
        raise OSError(error.errno, f"{path} cannot be written: {reason}") from error


def beside(target: Path, ahead: str, behind: str) -> str:
    """Return the file's name between two others, shortened where it is too long, always in the same way."""
    name, room = target.name, NAME_BYTES - len(ahead) - len(behind)
    if len(os.fsencode(name)) > room:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = os.fsencode(name)[: room - 17].decode(errors="ignore") + f"-{digest}"
    return f"{ahead}{name}{behind}"


def _temporary(target: Path, mode: int) -> tuple[Path, int]:
    """Return a new file beside the target, open and locked."""
    while True:
        path = target.with_name(beside(target, ".", f".{secrets.token_hex(4)}.tmp"))
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), mode)
        except FileExistsError:
            continue
        # before it was locked another process can have taken it for one that was left
        if _locked(handle) is not False and os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)


def remove_left(target: Path) -> None:
    """Remove the temporary files of a target whose writers are gone."""
    ahead, behind = beside(target, ".", ".????????.tmp").split("????????")
    pattern = re.compile(rf"{re.escape(ahead)}[a-z0-9_]{{8}}{re.escape(behind)}")
    with contextlib.suppress(OSError):  # a folder that cannot be listed can be written to
        for name in filter(pattern.fullmatch, os.listdir(target.parent)):
            with contextlib.suppress(OSError):
                _remove_unlocked(target.with_name(name))


def _remove_unlocked(path: Path) -> None:
    status = path.lstat()
    if fcntl is None or not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        return
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if _locked(handle):
            os.unlink(path)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool | None:
    """Lock an open file for this process: False if another has it, None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _make_alike(handle: int, before: os.stat_result) -> None:
    """Give an open file the owner and the mode of the one before."""
    if not fcntl:
        return
    now = os.fstat(handle)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(OSError):
            os.fchown(handle, before.st_uid, before.st_gid)
    os.fchmod(handle, stat.S_IMODE(before.st_mode) & 0o777)


def _flush(handle: int) -> None:
    """Wait until the disk has it, on file systems that can tell."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise


def _flush_folder(path: str | os.PathLike[str], folder: Path) -> None:
    """Wait until the disk has the file's new name."""
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            _flush(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise OSError(
                error.errno,
                f"{path} is written, but after a power failure the file before may be back: its folder could not be "
                f"flushed ({os.strerror(error.errno or 0)})",
            ) from error


class Lock:
    """A path that one run at a time may write to; released by its end, and by that of the process.

    A file beside the path holds it: ".NAME.lock" with the process's number. Where files cannot be locked it does
    nothing.

    Raises
    ------
    BlockingIOError
        If another run has the path.
    OSError
        If the lock's file cannot be written.
    """

    _held: ClassVar["weakref.WeakSet[Lock]"] = weakref.WeakSet()

    def __init__(self, target: Path, name: str) -> None:
        self.path = target.with_name(beside(target, ".", ".lock"))
        self.handle: int | None = None
        while fcntl:
            with _explained(target):
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            locked = _locked(handle)
            if locked is False:
                holder = os.pread(handle, 20, 0).decode(errors="replace").strip()
                os.close(handle)
                raise BlockingIOError(
                    f"{name} is {target}, which another run (process {holder or 'unknown'}) is writing: "
                    "wait for its end, or give each run a path of its own"
                )
            if locked is None or self._is_mine(handle):
                break
            os.close(handle)  # the run before removed it just now
        else:
            return
        self.handle = handle
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._held.add(self)

    def _is_mine(self, handle: int) -> bool:
        """Whether the file that is open is the one of this name."""
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others have the path."""
        if self.handle is not None:
            if self._is_mine(self.handle):
                with contextlib.suppress(OSError):
                    os.unlink(self.path)
            self.forget()

    def forget(self) -> None:
        """Close the file; another process that has it open keeps the lock."""
        handle, self.handle = self.handle, None
        if handle is not None:
            os.close(handle)

    @classmethod
    def forget_all(cls) -> None:
        """Give up what a fork has copied: the lock is the parent's, and ends with it."""
        for lock in list(cls._held):
            lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Lock.forget_all)
