"""What goes with an area that is followed no more."""

from __future__ import annotations

from sluice.base.errors import ConfigError
from sluice.base.store import Store
from sluice.store.removing import rows_text


def what_is_lost(store: Store, name: str, *, with_everything: bool) -> str:
    """What is lost with an area, in words; empty where nothing is.

    Args:
        store: Where the area is.
        name: Its name.
        with_everything: All that it holds may go.

    Raises:
        ConfigError: There is no such area; or it holds something, and that is to stay.
    """
    held = store.area_rows(name)
    if not held:
        return ""
    if not with_everything:
        raise ConfigError(
            f"area {name!r}: holds {rows_text(held)}, and stays; to lose all of it for good, give "
            "--with-everything"
        )
    lines = [f"{name} holds {rows_text(held)}: all of it is lost for good."]
    if "reviews" in held:
        lines.append(
            "Reviews are what people said of the places, and cannot be made anew; `sluice store "
            "backup` keeps a copy."
        )
    return "\n".join(lines)
