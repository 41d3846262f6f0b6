"""Define the exception for errors that the user can fix, and word operating-system errors and missing packages."""

from __future__ import annotations

import errno
from typing import NoReturn

_ADVICE = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your disk quota is used up. Free some space",
    errno.EFBIG: "the file would be larger than this system allows. Raise the limit (ulimit -f)",
    errno.EROFS: "the disk is read-only. Make it writable",
}


class PipelineError(Exception):
    """An error that the user can fix. The command line prints its message without a traceback and exits with code 1.

    The message names the file or key, what was found, what was expected, and what to do.
    """


def create_missing_package_error(subject: str, error: ImportError, extra: str) -> PipelineError:
    """Create the error for a missing optional package.

    Args:
        subject: What requires the package, in the plural, such as "scan.nii.gz: NIfTI files".
        error: What the import raised.
        extra: Extra of this project that installs the package.
    """
    return PipelineError(
        f"{subject} require the Python package {error.name}, which is missing. Install it: pip install "
        f"'unet-learning-report[{extra}]'"
    )


def user_message(error: PipelineError | OSError) -> str:
    """Return the message to show to the user. For an `OSError`, it names the file, the reason and the fix."""
    if isinstance(error, PipelineError):
        return str(error)
    name = error.filename2 or error.filename or "A file could not be accessed"
    advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error or type(error).__name__}. Fix this")
    return f"{name}: {advice}, then run the same command again."


def raise_error(error: OSError) -> NoReturn:
    """Raise an error. For `os.walk(..., onerror=raise_error)`, which otherwise leaves out unreadable folders."""
    raise error
