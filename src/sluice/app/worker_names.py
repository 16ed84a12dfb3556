"""Names of workers, by which one on the same computer can tell that another one is gone."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path


def own_name() -> str:
    """The name of this process: computer, space of process numbers, number, some chance."""
    return f"{socket.gethostname()}-{_space()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


def is_gone(name: str) -> bool:
    """Whether a worker is known to have ended: it ran here, and no process has its number.

    Of one elsewhere nothing is known; nor of one whose number another process has by now.
    """
    parts = name.rsplit("-", 3)
    if os.name != "posix" or len(parts) != 4 or not parts[2].isdigit():
        return False
    if (parts[0], parts[1]) != (socket.gethostname(), _space()):
        return False
    try:
        os.kill(int(parts[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _space() -> str:
    """Containers may share the computer's name, and count their processes each for itself; so may
    computers that are copies of one another."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return started.replace("-", "") + f"x{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return "0"
