"""Options of `sluice area plan` that are lists or words."""

from __future__ import annotations

from sluice.base.errors import ConfigError
from sluice.evaluation.area_sample import ALLOCATIONS, Allocation


def parse_allocation(text: str) -> Allocation:
    """The allocation of that name.

    Raises:
        ConfigError: There is none.
    """
    for known in ALLOCATIONS:
        if text.strip().lower() == known:
            return known
    raise ConfigError(f"--allocation {text!r}: give one of {', '.join(ALLOCATIONS)}")


def parse_expected(text: str | None) -> dict[str, float]:
    """Read `workings=0.7,near=0.05`.

    Raises:
        ConfigError: It has another form.
    """
    found = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, _, number = part.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError as err:
            raise ConfigError(
                f"--expect {part.strip()!r}: give stratum=share, as in near=0.05"
            ) from err
    return found


def parse_values(text: str | None) -> tuple[int, ...]:
    """Read `1,2`.

    Raises:
        ConfigError: Not whole numbers.
    """
    try:
        return tuple(int(part) for part in (text or "").split(",") if part.strip())
    except ValueError as err:
        raise ConfigError(f"--mine-values {text!r}: give whole numbers with commas: 1,2") from err
