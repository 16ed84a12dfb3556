"""A PostgreSQL server of one's own, with PostGIS, from Debian's packages.

It listens on a Unix socket in a folder of its own, need not outlive a power failure, and is gone
afterwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NEED_BYTES = 2 * 10**9
_SETTINGS = {
    "listen_addresses": "''",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "jit": "off",
}


def postgis_programs() -> Path | None:
    """The folder of the newest PostgreSQL that has PostGIS; None where there is none."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        version = folder.parent.name
        control = Path(f"/usr/share/postgresql/{version}/extension/postgis.control")
        if (folder / "initdb").is_file() and control.is_file():
            return folder
    return None


def _in_memory() -> Path | None:
    """A folder in memory; None for the system's own temporary folder."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of one's own is made in it
    if memory.is_dir() and shutil.disk_usage(memory).free >= _NEED_BYTES:
        return memory
    return None


@contextlib.contextmanager
def private_cluster(programs: Path, *, folder: Path | None = None) -> Iterator[str]:
    """Run a server; give the address of its database `postgres`, which has PostGIS.

    Args:
        programs: See `postgis_programs`.
        folder: Where its folder is made; None for memory where that is possible.
    """
    folder = Path(tempfile.mkdtemp(prefix="sluice-pg-", dir=folder or _in_memory()))
    user = "postgres" if os.name == "posix" and os.geteuid() == 0 else None
    if user is not None:
        # The server refuses to be run by root.
        shutil.chown(folder, user)
    data = folder / "data"

    def call(program: str, *words: str) -> None:
        log = folder / "calls.log"
        with log.open("ab") as said:
            ended = subprocess.run(  # noqa: S603 - words of ours
                [programs / program, *words],
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                user=user,
                cwd=folder,
                timeout=120,
                check=False,
            )
        if ended.returncode:
            raise RuntimeError(f"{program} failed: {log.read_text()[-2000:]}")

    try:
        call(
            "initdb", "-D", str(data), "-A", "trust", "-U", "sluice", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write(f"unix_socket_directories = '{folder}'\n")
            settings.writelines(f"{name} = {value}\n" for name, value in _SETTINGS.items())
        call("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "server.log"), "start")
        try:
            call(
                "psql", "-h", str(folder), "-U", "sluice", "-d", "postgres",
                "-c", "CREATE EXTENSION postgis",
            )  # fmt: skip
            yield f"postgresql://sluice@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
