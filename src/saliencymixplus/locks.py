"""File locks that are released with their process."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from saliencymixplus.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class BusyError(UserError):
    """Another process holds the lock."""


@contextmanager
def locked(
    path: Path,
    busy: str,
    *,
    timeout: float = 0,
    waiting: Callable[[str], object] | None = None,
    elsewhere: str = "move the state to one that has, with SALIENCYMIXPLUS_STATE=FOLDER",
) -> Iterator[None]:
    """Hold the lock file ``path`` during the block; a killed process releases it, too.

    Args:
        busy: what another process that holds the lock is doing, for messages.
        timeout: how many seconds to wait for the lock.
        waiting: called once with a message after ``timeout``, to wait without a limit from then
            on; None: give up after ``timeout``.
        elsewhere: what to do if the file system has no locks.

    Raises:
        BusyError: another process holds the lock.
        UserError: the folder cannot be written, or its file system has no locks.
    """
    # Without flock, filelock would use a marker file, which a killed process leaves behind.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=timeout)
        except Timeout as error:
            if waiting is None:
                raise BusyError(f"{busy} (it holds {path}): wait for it, or stop it") from error
            waiting(f"{busy}: waiting for it ({path})")
            lock.acquire(timeout=-1)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise UserError(
                f"cannot lock {path}: its file system has no locks ({error.strerror}); {elsewhere}"
            ) from error
        raise UserError(f"cannot write {path.parent}: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # the lock is released with the process at the latest
            lock.release()
