"""Filters as trees of CQL2 JSON: which properties they name, and where they hold.

Absent values make a comparison neither true nor false, as in SQL: `NOT (level = 'high')` leaves out
rows without a level.

Source:
    OGC 21-065r2, Common Query Language (CQL2).
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from sluice.app.web.parameters import read_day
from sluice.base.errors import ConfigError
from sluice.store.database import sides_of

Bools = npt.NDArray[np.bool_]


class Kind(StrEnum):
    """Of a property that can be asked for."""

    TEXT = "string"
    NUMBER = "number"
    FLAG = "boolean"
    DATE = "date"
    SHAPE = "geometry"


@dataclass(frozen=True)
class Answer:
    """Where a condition holds and where it does not; neither where it cannot be told."""

    yes: Bools
    no: Bools

    def __and__(self, other: Answer) -> Answer:
        return Answer(self.yes & other.yes, self.no | other.no)

    def __or__(self, other: Answer) -> Answer:
        return Answer(self.yes | other.yes, self.no & other.no)

    def __invert__(self) -> Answer:
        return Answer(self.no, self.yes)


@dataclass(frozen=True)
class _Values:
    """What an expression comes to: (N,) or one for all."""

    kind: Kind
    values: Any
    known: Any


def named_properties(tree: Any) -> set[str]:
    """Properties that a filter needs."""
    if isinstance(tree, list):
        return set().union(*map(named_properties, tree))
    if isinstance(tree, dict):
        if "property" in tree:
            return {str(tree["property"])}
        return named_properties(tree.get("args", tree.get("interval", [])))
    return set()


def conditions(tree: Any) -> list[Any]:
    """The conditions that must all hold."""
    if isinstance(tree, dict) and tree.get("op") == "and":
        return [part for arg in tree["args"] for part in conditions(arg)]
    return [tree]


def evaluate(
    tree: Any, columns: Mapping[str, Any], properties: Mapping[str, Kind], count: int
) -> Bools:
    """Where a filter holds.

    Args:
        tree: From `filter_reading.parse` or `filter_reading.equals`.
        columns: (N,) values of the properties that it names; shapes as geometries.
        properties: Their kinds.
        count: N.

    Raises:
        ConfigError: Values are compared that cannot be.
    """
    try:
        return _Evaluation(columns, properties, count).condition(tree).yes
    except RecursionError as err:
        raise ConfigError("the filter cannot be worked out; write it in fewer levels") from err


class _Evaluation:
    def __init__(
        self, columns: Mapping[str, Any], properties: Mapping[str, Kind], count: int
    ) -> None:
        self._columns = columns
        self._properties = properties
        self._count = count

    def condition(self, tree: Any) -> Answer:
        """Of a tree that is true or false."""
        if isinstance(tree, bool):
            return self._answer(np.full(self._count, tree), True)  # noqa: FBT003
        if isinstance(tree, dict) and "op" in tree:
            make = _CONDITIONS.get(tree["op"])
            if make is not None:
                return make(self, tree["op"], tree.get("args", []))
        if isinstance(tree, dict) and "property" in tree:
            value = self.value(tree)
            if value.kind is Kind.FLAG:
                return self._answer(value.values, value.known)
        raise ConfigError("the filter is no condition; compare a property with a value")

    def _answer(self, holds: Any, known: Any) -> Answer:
        holds = np.broadcast_to(np.asarray(holds, dtype=bool), self._count)
        known = np.broadcast_to(np.asarray(known, dtype=bool), self._count)
        return Answer(holds & known, ~holds & known)

    def logic(self, op: str, args: Sequence[Any]) -> Answer:
        """`and`, `or`, `not`."""
        if op == "not":
            return ~self.condition(args[0])
        found = [self.condition(arg) for arg in args]
        return functools.reduce(operator.and_ if op == "and" else operator.or_, found)

    def comparison(self, op: str, args: Sequence[Any]) -> Answer:
        """Of two values of one kind."""
        left, right = self._alike(*args)
        with np.errstate(invalid="ignore"):
            holds = _COMPARISONS[op](left.values, right.values)
        return self._answer(holds, left.known & right.known)

    def between(self, _op: str, args: Sequence[Any]) -> Answer:
        """Both ends included."""
        value, low, high = args
        return self.comparison(">=", [value, low]) & self.comparison("<=", [value, high])

    def is_in(self, _op: str, args: Sequence[Any]) -> Answer:
        """One of several values."""
        value, among = args
        if not isinstance(among, list) or not among:
            raise ConfigError("the filter's IN needs a list: status IN ('new','growing')")
        return functools.reduce(operator.or_, (self.comparison("=", [value, one]) for one in among))

    def is_null(self, _op: str, args: Sequence[Any]) -> Answer:
        """Absent."""
        return self._answer(~np.asarray(self.value(args[0]).known), True)  # noqa: FBT003

    def like(self, _op: str, args: Sequence[Any]) -> Answer:
        """A text with `%` for any letters and `_` for one."""
        value, pattern = self.value(args[0]), self.value(args[1])
        if value.kind is not Kind.TEXT or not isinstance(pattern.values, str):
            raise ConfigError("the filter's LIKE needs a text and a pattern: area LIKE 'ash%'")
        fits = _like(pattern.values).fullmatch
        texts = np.atleast_1d(value.values)
        known = np.broadcast_to(value.known, texts.shape)
        holds = [k and fits(text) is not None for text, k in zip(texts, known, strict=True)]
        return self._answer(holds if len(holds) != 1 else holds[0], value.known)

    def spatial(self, op: str, args: Sequence[Any]) -> Answer:
        """Two shapes."""
        left, right = (self.value(arg) for arg in args)
        if left.kind is not Kind.SHAPE or right.kind is not Kind.SHAPE:
            raise ConfigError(
                f"the filter's {op.upper()} needs two shapes: S_INTERSECTS(geometry, "
                "BBOX(-2,5,-1,6))"
            )
        try:
            holds = _SPATIAL[op](left.values, right.values)
        except shapely.GEOSException as err:
            raise ConfigError(f"the filter's shape cannot be used: {err}") from err
        return self._answer(holds, left.known & right.known)

    def temporal(self, op: str, args: Sequence[Any]) -> Answer:
        """Days and intervals of days."""
        (left_start, left_end, known), (start, end, also) = (self._days(arg) for arg in args)
        holds = _TEMPORAL[op](left_start, left_end, start, end)
        return self._answer(holds, known & also)

    def _days(self, tree: Any) -> tuple[Any, Any, Any]:
        if isinstance(tree, dict) and "interval" in tree:
            first, last = tree["interval"]
            start = self._day("0001-01-01" if first == ".." else first)
            end = self._day("9999-12-31" if last == ".." else last)
            return start.values, end.values, start.known & end.known
        value = self._day(tree, text_too=False)
        return value.values, value.values, value.known

    def _day(self, tree: Any, *, text_too: bool = True) -> _Values:
        value = self.value(_as_date(tree) if text_too else tree)
        if value.kind is not Kind.DATE:
            raise ConfigError("the filter needs days: T_AFTER(last_seen, DATE('2024-01-31'))")
        return value

    def value(self, tree: Any) -> _Values:
        """Of a tree that is a value."""
        if isinstance(tree, dict):
            if "property" in tree:
                name = str(tree["property"])
                return _column(self._properties[name], self._columns[name])
            if "op" in tree:
                return self._computed(tree["op"], tree.get("args", []))
        return _literal(tree)

    def _computed(self, op: str, args: Sequence[Any]) -> _Values:
        if op == "casei":
            value = self.value(args[0])
            if value.kind is not Kind.TEXT:
                raise ConfigError("the filter's CASEI needs a text")
            return _Values(Kind.TEXT, _folded(value.values), value.known)
        if op not in _ARITHMETIC:
            raise ConfigError(f"the filter's {op} is no value")
        found = [self.value(arg) for arg in args]
        if any(value.kind is not Kind.NUMBER for value in found):
            raise ConfigError(f"the filter's {op} needs numbers")
        if len(found) == 1:
            found.insert(0, _literal(0.0))
        with np.errstate(all="ignore"):
            result = _ARITHMETIC[op](
                np.asarray(found[0].values, dtype=float), np.asarray(found[1].values, dtype=float)
            )
        return _Values(Kind.NUMBER, result, np.isfinite(result) & found[0].known & found[1].known)

    def _alike(self, left: Any, right: Any) -> tuple[_Values, _Values]:
        one, other = self.value(left), self.value(right)
        # A day may be written as a plain text.
        if one.kind is Kind.DATE and isinstance(other.values, str):
            other = self.value(_as_date(other.values))
        elif other.kind is Kind.DATE and isinstance(one.values, str):
            one = self.value(_as_date(one.values))
        if one.kind is not other.kind or one.kind is Kind.SHAPE:
            raise ConfigError(f"the filter compares a {one.kind} with a {other.kind}")
        return one, other


def _as_date(text: Any) -> Any:
    return {"date": text} if isinstance(text, str) else text


def _column(kind: Kind, values: Any) -> _Values:
    if kind is Kind.NUMBER:
        numbers = np.array([np.nan if v is None else v for v in values], dtype=float)
        return _Values(kind, numbers, np.isfinite(numbers))
    known = np.array([v is not None and v == v for v in values], dtype=bool)  # noqa: PLR0124
    if kind is Kind.DATE:
        days = np.array(
            [_day(v) if k else None for v, k in zip(values, known, strict=True)],
            dtype="datetime64[D]",
        )
        return _Values(kind, days, known)
    if kind is Kind.FLAG:
        return _Values(kind, np.array([bool(v) for v in values], dtype=bool) & known, known)
    if kind is Kind.SHAPE:
        return _Values(kind, np.asarray(values, dtype=object), known)
    texts = np.array([str(v) if k else "" for v, k in zip(values, known, strict=True)], object)
    return _Values(kind, texts, known)


def _day(value: Any) -> Any:
    """Of a moment that of UTC, as all moments of a store are."""
    return value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value


def _literal(tree: Any) -> _Values:
    known = np.True_
    if isinstance(tree, bool):
        return _Values(Kind.FLAG, tree, known)
    if isinstance(tree, int | float):
        return _Values(Kind.NUMBER, float(tree), known)
    if isinstance(tree, str):
        return _Values(Kind.TEXT, tree, known)
    if isinstance(tree, dict):
        if "date" in tree or "timestamp" in tree:
            text = str(tree.get("date", tree.get("timestamp")))
            try:
                day = read_day(text)
            except ValueError as err:
                raise ConfigError(f"the filter's {text!r} is no date; write 2024-01-31") from err
            return _Values(Kind.DATE, np.datetime64(day), known)
        if "bbox" in tree:
            boxes = [shapely.box(*sides) for sides in sides_of(tree["bbox"])]
            return _Values(Kind.SHAPE, shapely.union_all(boxes), known)
        if "coordinates" in tree or "geometries" in tree:
            try:
                shape = shapely.from_geojson(json.dumps(tree))
            except (shapely.GEOSException, ValueError) as err:
                raise ConfigError(f"the filter's shape cannot be read: {err}") from err
            return _Values(Kind.SHAPE, shape, known)
    raise ConfigError("the filter holds a value that cannot be compared")


def _folded(values: Any) -> Any:
    if isinstance(values, str):
        return values.casefold()
    return np.array([text.casefold() for text in values], dtype=object)


def _like(pattern: str) -> re.Pattern[str]:
    """A pattern of LIKE as a regular expression; a backslash takes the meaning from a letter."""
    parts: list[str] = []
    letters = iter(pattern)
    for letter in letters:
        if letter == "%":
            # Two in a row mean what one does, and take long.
            if not parts or parts[-1] != ".*":
                parts.append(".*")
        elif letter == "_":
            parts.append(".")
        else:
            parts.append(re.escape(next(letters, "\\") if letter == "\\" else letter))
    if parts.count(".*") > _MOST_WILDCARDS:
        raise ConfigError(f"the filter's LIKE has more than {_MOST_WILDCARDS} of %")
    return re.compile("".join(parts), re.DOTALL)


_MOST_WILDCARDS = 4
"""More would take long on texts that nearly fit."""
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "div": np.floor_divide,
    "^": np.power,
}
_SPATIAL: dict[str, Callable[[Any, Any], Any]] = {
    "s_intersects": shapely.intersects,
    "s_disjoint": shapely.disjoint,
    "s_within": shapely.within,
    "s_contains": shapely.contains,
    "s_equals": shapely.equals,
    "s_touches": shapely.touches,
    "s_crosses": shapely.crosses,
    "s_overlaps": shapely.overlaps,
}
_TEMPORAL: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "t_after": lambda a, _b, _c, d: a > d,
    "t_before": lambda _a, b, c, _d: b < c,
    "t_equals": lambda a, b, c, d: (a == c) & (b == d),
    "t_during": lambda a, b, c, d: (a > c) & (b < d),
    "t_intersects": lambda a, b, c, d: (a <= d) & (b >= c),
    "t_disjoint": lambda a, b, c, d: (a > d) | (b < c),
}
_CONDITIONS: dict[str, Callable[[_Evaluation, str, Sequence[Any]], Answer]] = {
    **dict.fromkeys(("and", "or", "not"), _Evaluation.logic),
    **dict.fromkeys(_COMPARISONS, _Evaluation.comparison),
    **dict.fromkeys(_SPATIAL, _Evaluation.spatial),
    **dict.fromkeys(_TEMPORAL, _Evaluation.temporal),
    "between": _Evaluation.between,
    "in": _Evaluation.is_in,
    "isNull": _Evaluation.is_null,
    "like": _Evaluation.like,
}
OPERATIONS = {*_CONDITIONS, *_ARITHMETIC, "casei"}
"""That a filter may use."""
