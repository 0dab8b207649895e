"""The errors that blockskim raises for things a caller can put right."""

import errno

DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""Numbers of errors of writing for which the disk is to blame, and not the program."""


class BlockSkimError(Exception):
    """Something that the user asked for can't be done; the message says why and what would be right.

    The command line prints the message on one line, without a traceback, and exits with code 1, or 2 for a
    setting that is impossible.

    Examples:
        >>> from blockskim import BlockSkimError, SkimConfig
        >>> try:
        ...     SkimConfig(block_size=7)
        ... except BlockSkimError as error:
        ...     print(error)
        block_size is 7; it must be one of 8, 16, 32, 64
    """


class ConfigError(BlockSkimError, ValueError):
    """A setting is unknown, impossible, or does not fit another setting."""


class DataError(BlockSkimError, ValueError):
    """A data file is not what it should be; the message names the file and the record."""


class ReadError(DataError):
    """The system could not read a file that may be whole: a disk that fails, a share that is away, too many open files.

    Who goes on where a file is wrong must not do so here, as the same file can be read another time.
    """


class ModelError(BlockSkimError, ValueError):
    """A model directory or checkpoint can't be used; the message says what would be right."""
