"""Reports as files: the document, and beside it the facts and its hash for machines."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sluice.app.messages import messages
from sluice.app.products.landing import telling_disk_errors
from sluice.app.reports.area_content import area_document
from sluice.app.reports.site_content import site_document
from sluice.app.reports.site_evidence import AreaEvidence, SiteEvidence
from sluice.app.reports.site_html import write_html
from sluice.app.reports.site_pdf import write_pdf
from sluice.base.errors import ConfigError
from sluice.base.files import sha256_file, write_whole

FORMATS = ("pdf", "html")


def write_report(
    evidence: SiteEvidence | AreaEvidence, path: Path, language: str = "en", fmt: str | None = None
) -> Path:
    """Write a report, and its manifest beside it.

    The same evidence and language give the same bytes, whenever and wherever they are written.

    Args:
        evidence: Of a site or of an area.
        path: The document: `site.pdf` or `site.html`.
        language: One of `sluice.app.messages.LANGUAGES`.
        fmt: `pdf` or `html`; by the name of the file if left out.

    Returns:
        The manifest, `site.json`: all facts, their SHA-256, which the document tells, and the
        SHA-256 of the documents of this name that were made from the same facts.

    Raises:
        ConfigError: The language or the format is not known, or the file cannot be written.
        RunFailed: The disk is full.
    """
    kind = fmt or path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ConfigError(
            f"{path}: a report is a PDF or a page; name it .pdf or .html, or give the format",
            href=str(path),
        )
    say = messages(language)
    manifest = path.with_suffix(".json")
    if manifest == path:
        raise ConfigError(f"{path}: that name is the manifest's; name the report .{kind}")
    facts = evidence.facts()
    digest = facts_sha256(facts)
    compose: Any = site_document if isinstance(evidence, SiteEvidence) else area_document
    document = compose(evidence, say, manifest=manifest.name, facts_sha256=digest)
    with telling_disk_errors(path.parent):
        # The name under way keeps the suffix, whatever the format.
        with write_whole(path) as part:
            (write_pdf if kind == "pdf" else write_html)(document, part)
        made = {"format": kind, "language": language, **_identity(path)}
        _write_manifest(manifest, path.name, made, facts, digest)
    return manifest


def facts_sha256(facts: dict[str, Any]) -> str:
    """SHA-256 of facts as JSON with sorted keys, without spaces, in UTF-8."""
    text = json.dumps(
        facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _write_manifest(
    manifest: Path, name: str, made: dict[str, Any], facts: dict[str, Any], digest: str
) -> None:
    documents = {
        other: known
        for other, known in _documents_before(manifest, digest).items()
        if other != name and _is_still(manifest.with_name(other), known)
    }
    documents[name] = made
    told = {
        "facts_sha256": digest,
        "documents": dict(sorted(documents.items())),
        "facts": facts,
    }
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    with write_whole(manifest) as part:
        part.write_bytes(f"{text}\n".encode())


def _identity(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _documents_before(manifest: Path, digest: str) -> dict[str, Any]:
    """Documents that an earlier manifest of the same facts tells."""
    try:
        told = json.loads(manifest.read_bytes())
        same = told["facts_sha256"] == digest
        return dict(told["documents"]) if same else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_still(path: Path, known: Any) -> bool:
    return isinstance(known, dict) and path.is_file() and known.get("sha256") == sha256_file(path)
