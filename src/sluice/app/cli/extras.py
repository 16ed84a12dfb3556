"""Parts of Sluice that are installed only where they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sluice.base.errors import ConfigError

_OF_SERVE = {"fastapi", "uvicorn", "starlette", "orjson", "anyio"}


@contextlib.contextmanager
def needing_serve() -> Iterator[None]:
    """Around imports of what `sluice[serve]` installs.

    Raises:
        ConfigError: It is not installed; how to do so.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        if err.name not in _OF_SERVE:
            raise
        raise ConfigError(
            f"{err.name} is missing; install it with `pip install 'sluice[serve]'`"
        ) from err
