"""The page of a published map: the built map, told that a folder answers in a server's place."""

from __future__ import annotations

import datetime as dt
import html
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sluice.app.messages import Messages
from sluice.base.errors import ConfigError

DATA = "data"
"""Folder of what the page asks for."""
INDEX = "index.html"
_HEAD, _ROOT, _LANGUAGE = "</title>", '<div id="app">', '<html lang="en">'
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class About:
    """What everybody who looks has to know, in the language of the page."""

    made: dt.date
    version: str
    sources: tuple[str, ...]
    """Whom to name for the data."""
    notes: tuple[str, ...]
    """What is withheld, or left out."""

    def lines(self, say: Messages) -> list[str]:
        """In sentences, the most important one first."""
        made = say.text("published.made", day=self.made, version=self.version)
        return [say.text("common.lead"), *self.notes, *self.sources, made]


def check_map(map_folder: Path) -> None:
    """Refuse where there is no built map.

    Raises:
        ConfigError: It says how to get one.
    """
    if not (map_folder / INDEX).is_file():
        raise ConfigError(
            "this Sluice has no built map inside: run `make map` in its source, or install a wheel "
            "that has one",
            href=str(map_folder),
        )


def write_page(map_folder: Path, out: Path, about: About, say: Messages) -> None:
    """Copy the built map, and tell its page where the data lies.

    What the page holds before its program runs is read by search engines, by those who have no
    JavaScript, and by those who open the file without a web server, which browsers do not allow.

    Raises:
        ConfigError: There is no built map, or one of another make.
    """
    check_map(map_folder)
    text = (map_folder / INDEX).read_text("utf-8")
    if _HEAD not in text or _ROOT not in text or _LANGUAGE not in text:
        raise ConfigError(
            "the built map is not one that can be published; build it again with `make map`",
            href=str(map_folder),
        )
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}" />'
    described = html.escape(say.text("common.lead"), quote=True)
    head = f'{_HEAD}\n    {policy}\n    <meta name="description" content="{described}" />'
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in _first_words(about, say))
    root = (
        f'<div id="app" data-published="{DATA}/"><main class="gate"><h1>Sluice</h1>{lines}</main>'
    )
    language = f'<html lang="{say.language}">'
    text = text.replace(_LANGUAGE, language, 1).replace(_HEAD, head, 1).replace(_ROOT, root, 1)
    for path in sorted(map_folder.rglob("*")):
        name = path.relative_to(map_folder)
        if path.is_file() and name.parts[0] not in {INDEX, "built.txt"}:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / name)
    (out / INDEX).write_text(text, "utf-8")
    (out / "README.txt").write_text("\n\n".join(_first_words(about, say)) + "\n", "utf-8")


def _first_words(about: About, say: Messages) -> Sequence[str]:
    return [*about.lines(say), say.text("published.needs_host")]
