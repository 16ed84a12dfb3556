"""Sentences as a code and its values, so that every face says them in its reader's language.

What a rule decided is kept as `Said("status_rule.grew", {"from_ha": 3.1, "to_ha": 5.0, …})`; the
sentence itself is in the catalogue of messages, with a place for each value. In a table or a text
column several stand as compact JSON (`packed`).

The last word of a value's name tells its unit, as with columns: `_ha` hectares, `_m` metres,
`_share` a share of 1, `_probability`, `_day` a date (ISO 8601), `_period` two dates with a slash,
`_sensors` ids with commas; `n` is a count. Other values are shown as they are: names, ids.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import BeforeValidator

from sluice.base.arrays import FloatArray, ObjectArray
from sluice.base.periods import Period

SaidValue: TypeAlias = str | int | float
RECORDED = "said.recorded"
"""Code of a sentence that was stored as a sentence; its value is `text`."""
SAID_COLUMNS = ("status_rule", "legality_why", "reasons")
"""Columns of sites, periods and alerts that hold them."""
_DECIMALS = 4
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, before it is put in words."""

    code: str
    """Key in the catalogue of messages."""
    values: Mapping[str, SaidValue] = field(default_factory=dict)
    """For the places of the sentence; see the module for their names."""

    @classmethod
    def of(cls, code: str, /, **values: SaidValue | dt.date | Period) -> Said:
        """A sentence with its values, as JSON has them.

        Args:
            code: Key in the catalogue of messages.
            values: Fractions are kept to four decimals.
        """
        return cls(code, {name: _plain(value) for name, value in values.items()})

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"code": self.code, "values": dict(self.values)}


def packed(said: Iterable[Said]) -> str:
    """Sentences as compact JSON, empty text where there is none.

    Raises:
        ValueError: A value is not a finite number.
    """
    told = [one.plain() for one in said]
    return _ENCODER.encode(told) if told else ""


def said_texts(
    code: str | ObjectArray,
    count: int,
    /,
    **values: SaidValue | dt.date | Period | FloatArray | ObjectArray,
) -> ObjectArray:
    """Many sentences of the same values at once, each as the JSON of one; see `joined_texts`.

    Args:
        code: Of all, or of each.
        count: How many.
        values: Of all, or (count,) of each; as for `Said.of`.

    Raises:
        ValueError: A value is not a finite number.
    """
    columns: list[list[Any]] = []

    def place(value: Any) -> str:
        if not isinstance(value, np.ndarray):
            return _ENCODER.encode(_plain(value)).replace("%", "%%")
        if value.dtype == object:
            known = {text: _ENCODER.encode(text) for text in set(value.tolist())}
            columns.append([known[text] for text in value.tolist()])
        else:
            if not np.isfinite(value).all():
                raise ValueError("a sentence needs a finite number for each of its values")
            columns.append(np.round(value, _DECIMALS).tolist())
        return "%s"

    start = place(code)
    inner = ",".join(f'"{name}":{place(value)}' for name, value in values.items())
    template = f'{{"code":{start},"values":{{{inner}}}}}'
    texts = np.empty(count, dtype=object)
    if columns:
        texts[:] = [template % row for row in zip(*columns, strict=True)]
    else:
        texts[:] = template.replace("%%", "%")
    return texts


def joined_texts(*parts: ObjectArray) -> ObjectArray:
    """Sentences of `said_texts`, one or more of each row, as `packed` would have them."""
    joined = "[" + parts[0]
    for part in parts[1:]:
        joined = joined + "," + part
    return np.asarray(joined + "]", dtype=object)


def read_said(value: object) -> tuple[Said, ...]:
    """Sentences of a table, a store or a record.

    Args:
        value: What `packed` wrote, a list of such objects or of texts, a sentence as older stores
            hold it (it comes back as `RECORDED`), or nothing.
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, Said | Mapping):
        return (_one(value),)
    if isinstance(value, Iterable):
        return tuple(_one(part) for part in value)
    return ()  # None, NaN


Sayings: TypeAlias = Annotated[tuple[Said, ...], BeforeValidator(read_said)]
"""Field of a record that holds sentences."""


def _of_text(text: str) -> tuple[Said, ...]:
    if not text:
        return ()
    if text.startswith('[{"code":'):
        try:
            return tuple(_one(part) for part in json.loads(text))
        except ValueError:
            pass  # A sentence after all.
    return (Said(RECORDED, {"text": text}),)


def _one(part: object) -> Said:
    if isinstance(part, Said):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("code"), str):
        values = part.get("values")
        known = values if isinstance(values, Mapping) else {}
        return Said(part["code"], {str(name): _kept(value) for name, value in known.items()})
    return Said(RECORDED, {"text": str(part)})


def _kept(value: object) -> SaidValue:
    return value if isinstance(value, str | int | float) else str(value)


def _plain(value: object) -> SaidValue:
    if type(value) is str:
        return value
    if isinstance(value, float):
        return round(float(value), _DECIMALS)
    if isinstance(value, Period):
        return f"{value.start}/{value.end}"
    # Whole numbers of numpy too.
    return int(value) if hasattr(value, "__index__") else str(value)
