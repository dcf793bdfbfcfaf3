"""The one error a user sees: what is wrong, where, and what to do, on one line."""

from __future__ import annotations

import errno


class GlideError(Exception):
    """Bad input or a bad environment, told in one line; the command line prints it as `error: ...` and exits with 2.

    Write the message as `what, where: what to do`, for example
    `GlideError(f"no WARC record in {path}: pass a file that a crawler wrote")`.
    """


def from_os_error(error: OSError) -> GlideError:
    """Says what a failed system call means for the user: full disk, no permission, missing file."""
    where = error.filename or "the output directory"
    if error.errno == errno.ENOSPC:
        return GlideError(f"no space left on the disk of {where}: free some and run the same command, it goes on")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return GlideError(f"no permission to write {where}: choose another --out or change its owner")
    if error.errno == errno.ENOENT:
        return GlideError(f"no such file or directory, {where}: check the path")
    return GlideError(f"{error.strerror or error}, {where}: check the path and the disk")
