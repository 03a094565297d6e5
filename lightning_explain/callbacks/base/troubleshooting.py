"""What can be done about a failure, and whether two failures are one."""

import errno
import re

from lightning_explain.attribution.integrated_gradients.passes import ran_out_of_memory
from lightning_explain.errors import ConfigurationError, ExplanationError, LoggerError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


BY_METHOD = "Give a smaller probe=, or the method a smaller chunk_size=: explanations need memory beside training."
BY_PROBE = "Give a smaller probe=, or fewer layers=: following paths needs memory beside training."


def cure_of(error: BaseException, otherwise: str = "", memory: str = BY_METHOD) -> str:
    """Say what to do about a failure; empty where its own message says it.

    Args:
        error: What was raised.
        otherwise: What to do if nothing is known of this kind of failure.
        memory: What to do where memory runs out.

    Example:
        >>> cure_of(OSError(errno.ENOSPC, "No space left on device"))
        'Make room on the disk: what comes next is written again as soon as there is some.'
    """
    if isinstance(error, LoggerError) and error.__cause__ is not None:
        return cure_of(error.__cause__, otherwise, memory)
    if isinstance(error, ConfigurationError | ExplanationError):
        return ""
    if ran_out_of_memory(error):
        return memory
    if isinstance(error, OSError) and error.errno in FULL:
        return "Make room on the disk: what comes next is written again as soon as there is some."
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        return "Give the logger a folder in which files and folders can be made."
    return otherwise


def identity_of(error: BaseException) -> str:
    """Name what failures of one cause have in common, whatever they interrupted.

    Example:
        >>> full = [OSError(errno.ENOSPC, "No space left on device", name) for name in ("a.png", "b.png")]
        >>> identity_of(full[0]) == identity_of(full[1])
        True
    """
    if isinstance(error, LoggerError) and error.__cause__ is not None:
        return identity_of(error.__cause__)
    if isinstance(error, OSError) and error.errno is not None:
        return f"OSError {error.errno}"
    # 2 of 2 samples or 8 of 8: counts differ from time to time
    return re.sub(r"\d+", "#", f"{type(error).__name__}: {error}")
