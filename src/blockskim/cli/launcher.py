"""What a launcher of several processes, if there was one, says of this one."""

import os


def is_first_process() -> bool:
    """Whether this is the only process of a run, or that of several started by a launcher which speaks for all."""
    return os.environ.get("RANK", "0") == "0" or os.environ.get("WORLD_SIZE", "1") == "1"
