"""Filters read from CQL2 text and from parameters of an address, and checked.

Source:
    OGC 21-065r2, Common Query Language (CQL2).
"""

from __future__ import annotations

import functools
import json
import math
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cql2
import numpy as np

from sluice.app.web.filters import OPERATIONS, Kind
from sluice.base.errors import ConfigError

LONGEST = 4000
"""Characters of a filter."""
_DEEPEST = 20
_MOST_JOINED = LONGEST // 2
"""Conditions in one AND or OR: more than fit into a filter."""
_TAKES: dict[str, Sequence[int]] = {
    **dict.fromkeys(("not", "isNull", "casei"), (1,)),
    **dict.fromkeys(("and", "or"), range(1, _MOST_JOINED)),
    **dict.fromkeys(("+", "-"), (1, 2)),
    "between": (3,),
}
"""Values of operations that take other than two: a call of any name may have any number of them."""
_PARSER_STACK = 64 * 1024 * 1024
"""Bytes: the parser calls itself for each level, and dies with the whole process where its stack
ends. The length bounds the levels, the stack holds as many."""


def parse(text: str, properties: Mapping[str, Kind]) -> Any:
    """A filter as a tree of CQL2 JSON.

    Args:
        text: CQL2 text.
        properties: That may be named.

    Raises:
        ConfigError: It cannot be read, or names what is not there.
    """
    if len(text) > LONGEST or _depth(text) > _DEEPEST:
        raise ConfigError(
            f"the filter is too long; {LONGEST:,} characters and {_DEEPEST} brackets within each "
            "other are the most"
        )
    try:
        tree = json.loads(_in_json(text))
        _check(tree, properties)
    except (cql2.ParseError, cql2.ValidationError) as err:
        raise ConfigError(f"the filter is no CQL2 text: {_where(str(err))}") from err
    except (RecursionError, ValueError) as err:
        raise ConfigError("the filter cannot be read; write it in fewer levels") from err
    return tree


def equals(name: str, value: Any, properties: Mapping[str, Kind]) -> Any:
    """A condition of CQL2 JSON: that a property has a value.

    Args:
        name: Of the property.
        value: As a parameter of an address has it; a list where it is there twice.
        properties: That may be named, of which shapes can not.

    Raises:
        ConfigError: There is no such property, or it has no such values.
    """
    kind = properties.get(name, Kind.SHAPE)
    if kind is Kind.SHAPE:
        raise ConfigError(
            f"{name}: is not known here; leave it out, or name a property: "
            f"{', '.join(one for one, kind in properties.items() if kind is not Kind.SHAPE)}"
        )
    if not isinstance(value, str) or len(value) > LONGEST:
        raise ConfigError(f"{name}: takes one value; ask with filter={name} IN (…) for several")
    literal: Any = value
    if kind is Kind.NUMBER:
        try:
            literal = float(value)
        except ValueError:
            literal = math.nan
        if not math.isfinite(literal):
            raise ConfigError(f"{name}: {value!r} is no number")
    elif kind is Kind.FLAG:
        if value not in {"true", "false"}:
            raise ConfigError(f"{name}: {value!r} is neither true nor false")
        literal = value == "true"
    elif kind is Kind.DATE:
        literal = {"date": value}
    return {"op": "=", "args": [{"property": name}, literal]}


@functools.lru_cache(128)
def _in_json(text: str) -> str:
    """Kept: a program asks for one box after the other with the same filter."""
    return _parser().submit(_parse_text, text).result()


def _parse_text(text: str) -> str:
    return json.dumps(cql2.parse_text(text).to_json())


def _depth(text: str) -> int:
    """Most brackets within each other."""
    steps = [1 if letter == "(" else -1 for letter in text if letter in "()"]
    return int(np.cumsum(steps).max(initial=0)) if steps else 0


@functools.cache
def _parser() -> ThreadPoolExecutor:
    """A thread with a large stack."""
    with _MAKING:
        before = threading.stack_size(_PARSER_STACK)
        try:
            parser = ThreadPoolExecutor(1, thread_name_prefix="cql2")
            parser.submit(int).result()
        finally:
            threading.stack_size(before)
    return parser


_MAKING = threading.Lock()


def _where(message: str) -> str:
    """`expected Expr` and where, of what the parser draws."""
    place = re.search(r"--> \d+:(\d+)", message)
    expected = re.search(r"= (.*)", message)
    at = f" at character {place[1]}" if place else ""
    return (expected[1] if expected else "it cannot be read")[:200] + at


def _check(tree: Any, properties: Mapping[str, Kind]) -> None:
    """Refuse what is not known before anything is read."""
    if isinstance(tree, list):
        for part in tree:
            _check(part, properties)
    elif isinstance(tree, dict):
        if "property" in tree:
            if tree["property"] not in properties:
                raise ConfigError(
                    f"the filter asks for {tree['property']!r}, which is not there; there are "
                    f"{', '.join(properties)}"
                )
            return
        if "op" in tree:
            op, args = tree["op"], tree.get("args", [])
            if op not in OPERATIONS:
                raise ConfigError(f"the filter uses {op}, which is not known here")
            if len(args) not in _TAKES.get(op, (2,)):
                raise ConfigError(f"the filter's {op.upper()} cannot take {len(args)} values")
            _check(args, properties)
        elif "interval" in tree:
            if len(tree["interval"]) != 2:
                raise ConfigError(
                    "the filter's INTERVAL needs two days: INTERVAL('2024-01-31','..')"
                )
            _check(tree["interval"], properties)
