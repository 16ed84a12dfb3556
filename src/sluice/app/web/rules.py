"""What each address of the service asks of whoever asks: the one table.

An address that is not in it does not exist for the outside, and a test walks through all routes of
the service: who adds one decides here who may use it, and whether it shows places as
`sluice.app.web.withheld` lets them out, or is not for those from whom places are withheld.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeAlias

from starlette.routing import compile_path

from sluice.base.people import Role

Part: TypeAlias = Literal["sites", "reviews", "layers"]
"""Of a `Revision` of the store."""


class Withheld(StrEnum):
    """What becomes of sensitive places, and of areas that somebody may not see."""

    NO_PLACE = "no place"
    """Nothing of it comes from sites, areas or images."""
    SHOWN = "shown"
    """The route lets out what `withheld` does, and nothing else."""
    REFUSED = "refused"
    """Not for those from whom places are withheld; areas are looked at by the route."""


class Cost(StrEnum):
    """What it takes to answer."""

    LIGHT = "light"
    HEAVY = "heavy"
    """Exports, reports, uploads, analyses: fewer of them in a minute."""


@dataclass(frozen=True)
class Rule:
    """Of one method at one address."""

    role: Role | None
    """The least role; None for everybody, without an account too."""
    withheld: Withheld
    cost: Cost = Cost.LIGHT
    logged: str | None = None
    """What the log calls it; None for what is not logged."""
    page: bool = False
    """Whether links of other pages may lead there."""
    csrf: bool = True
    """Whether what a browser writes needs the secret of its session."""
    follows: tuple[Part, ...] = ()
    """Parts of the store that answers follow from, where they may be kept while these stay."""


Methods = dict[str, Rule]


def _public(*, page: bool = False) -> Rule:
    return Rule(None, Withheld.NO_PLACE, page=page)


def _read(withheld: Withheld = Withheld.SHOWN) -> Rule:
    return Rule(Role.VIEWER, withheld)


def _kept(*follows: Part, withheld: Withheld = Withheld.SHOWN) -> Rule:
    return Rule(Role.VIEWER, withheld, follows=follows)


def _export(*, page: bool = False) -> Rule:
    return Rule(Role.VIEWER, Withheld.SHOWN, Cost.HEAVY, "export", page)


_UPLOAD = Rule(Role.ANALYST, Withheld.NO_PLACE, Cost.HEAVY, "upload")
_JOB = Rule(Role.ANALYST, Withheld.NO_PLACE, Cost.HEAVY, "analysis")

RULES: dict[str, Methods] = {
    # The map; `map_rules` adds what lies beside its page.
    "/": {"GET": _public(page=True)},
    "/assets/{path:path}": {"GET": _public()},
    "/api/messages/{language}": {"GET": _public()},
    "/api/openapi.json": {"GET": _public()},
    "/api/docs": {"GET": _public(page=True)},
    # Who is there. Logging in and out is written down by the routes themselves.
    "/api/session": {
        "GET": _public(),
        "POST": Rule(None, Withheld.NO_PLACE, csrf=False),
        "DELETE": _public(),
    },
    "/api/session/password": {"POST": Rule(Role.VIEWER, Withheld.NO_PLACE)},
    "/api/audit": {"GET": Rule(Role.ADMIN, Withheld.NO_PLACE)},
    # Places.
    "/api/areas": {"GET": _read(), "POST": _UPLOAD},
    "/api/sites": {"GET": _read()},
    "/api/sites/{site_id}": {"GET": _read()},
    "/api/sites/{site_id}/reviews": {
        "POST": Rule(Role.REVIEWER, Withheld.REFUSED, logged="review")
    },
    "/api/reported-mines": {
        "GET": _read(),
        "POST": Rule(Role.REVIEWER, Withheld.REFUSED, logged="report of a mine"),
    },
    "/api/reported-mines/{label_id}": {
        "DELETE": Rule(Role.REVIEWER, Withheld.REFUSED, logged="report of a mine")
    },
    "/api/alerts": {"GET": _read()},
    "/api/search": {"GET": _read()},
    "/api/layers": {"GET": _read(Withheld.NO_PLACE), "POST": _UPLOAD},
    "/api/layers/{name}/items.geojson": {"GET": _read(Withheld.NO_PLACE)},
    "/api/statistics": {"GET": _read()},
    "/api/statistics.csv": {"GET": _export()},
    "/tiles/sites/{z}/{x}/{y}.pbf": {"GET": _kept("sites", "reviews")},
    "/tiles/layers/{name}/{z}/{x}/{y}.pbf": {"GET": _kept("layers", withheld=Withheld.NO_PLACE)},
    "/api/imagery/{run_id}": {"GET": _read(Withheld.REFUSED)},
    "/imagery/{run_id}/{shown}/{z}/{x}/{y}.png": {"GET": _read(Withheld.REFUSED)},
    "/api/elevation": {"GET": _read(Withheld.NO_PLACE)},
    "/elevation/{version}/{z}/{x}/{y}.png": {"GET": _read(Withheld.NO_PLACE)},
    "/exports/sites.{ending}": {"GET": _export()},
    "/reports/sites/{site_id}.{ending}": {"GET": _export(page=True)},
    "/reports/areas/{area}.{ending}": {"GET": _export(page=True)},
    # For other programs.
    "/ogc": {"GET": _read(Withheld.NO_PLACE)},
    "/ogc/": {"GET": _read(Withheld.NO_PLACE)},
    "/ogc/conformance": {"GET": _read(Withheld.NO_PLACE)},
    "/ogc/collections": {"GET": _read()},
    "/ogc/collections/{collection}": {"GET": _read()},
    "/ogc/collections/{collection}/queryables": {"GET": _read(Withheld.NO_PLACE)},
    "/ogc/collections/{collection}/items": {"GET": _kept("sites", "reviews")},
    "/ogc/collections/{collection}/items/{feature}": {"GET": _read()},
    # Runs, whose images and files show the places themselves.
    "/stac": {"GET": _read(Withheld.REFUSED)},
    "/stac/": {"GET": _read(Withheld.REFUSED)},
    "/stac/conformance": {"GET": _read(Withheld.NO_PLACE)},
    "/stac/search": {"GET": _read(Withheld.REFUSED), "POST": _read(Withheld.REFUSED)},
    "/stac/collections": {"GET": _read(Withheld.REFUSED)},
    "/stac/collections/{area}": {"GET": _read(Withheld.REFUSED)},
    "/stac/collections/{area}/items": {"GET": _read(Withheld.REFUSED)},
    "/stac/collections/{area}/items/{run_id}": {"GET": _read(Withheld.REFUSED)},
    "/stac/collections/{area}/items/{run_id}/{file}": {"GET": _read(Withheld.REFUSED)},
    # Analyses.
    "/api/jobs": {"GET": _read(Withheld.REFUSED), "POST": _JOB},
    "/api/jobs/{job_id}": {"GET": _read(Withheld.REFUSED), "DELETE": _JOB},
    "/api/jobs/{job_id}/events": {"GET": _read(Withheld.REFUSED)},
}


def map_rules(folder: Path) -> dict[str, Methods]:
    """Rules for the files that lie beside the map's page: everybody may have them.

    Args:
        folder: Of the built map; it need not be there.
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        f"/{path.name}/{{path:path}}" if path.is_dir() else f"/{path.name}": {"GET": _public()}
        for path in there
        if "{" not in path.name
    }


class RuleBook:
    """Finds the rules of an address."""

    def __init__(self, rules: dict[str, Methods]) -> None:
        """Read a table.

        Args:
            rules: By template; an address has the rules of the first that fits.
        """
        self._by_start: dict[str, list[tuple[re.Pattern[str], str, Methods]]] = {}
        for template, methods in rules.items():
            pattern, _, _ = compile_path(template)
            found = (pattern, template, methods)
            self._by_start.setdefault(_start(template), []).append(found)

    def find(self, path: str) -> tuple[str, Methods] | None:
        """The template of an address, and its rules by method; None for one that is not there."""
        for pattern, template, methods in self._by_start.get(_start(path), ()):
            if pattern.match(path):
                return template, methods
        return None


def _start(path: str) -> str:
    """The first part of a path, by which few rules are left."""
    return path.split("/", 2)[1] if path.startswith("/") else path
