"""What a service needs to know, as data."""

from __future__ import annotations

import ipaddress
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sluice.base.errors import ConfigError

DEFAULT_PORT = 8765


def packaged_map() -> Path:
    """Where the built map lies in an installation."""
    return Path(str(resources.files("sluice.app.web").joinpath("static")))


def check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names without scheme and port.

    Raises:
        ConfigError: One is no name.
    """
    for name in names:
        if not name or any(sign in name for sign in "/:@ "):
            raise ConfigError(f"--name {name!r}: give a name alone, such as mines.example.org")
    return names


def check_proxies(proxies: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses or networks.

    Raises:
        ConfigError: One is none.
    """
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError as err:
            raise ConfigError(
                f"--proxy {proxy!r}: give the proxy's address or network, such as 127.0.0.1"
            ) from err
    return proxies


class Settings(BaseModel):
    """One service over one store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    """Path of a SQLite file, or address of a PostGIS database."""
    host: str = "127.0.0.1"
    """Where it listens."""
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)
    map_folder: Path = Field(default_factory=packaged_map)
    """The built map."""
    threads: int = Field(default=8, ge=1, le=64)
    """Requests that work on the store at a time; each has a connection."""
    heavy_at_once: int = Field(default=2, ge=1, le=64)
    """Exports and reports that are made at a time."""
    heavy_wait_s: float = Field(default=20.0, ge=0)
    """How long one waits for its turn before it is sent away."""
    slow_client_s: float = Field(default=60.0, gt=0)
    """How long a client may take for 64 kB of an answer, or send none of its request."""
    connections: int = Field(default=1000, ge=10)
    """Beyond, clients are told to come again."""
    connections_per_address: int = Field(default=200, ge=1)
    """Of them, those of one address that is no proxy's."""
    cache_mb: int = Field(default=256, ge=1)
    """Memory for what was made for somebody and serves others: a quarter each for answers, tiles of
    images, outlines and the text of features."""
    second_process: bool = True
    """Whether a process beside may make answers where many wait, and the machine has two cores."""
    names: Annotated[tuple[str, ...], AfterValidator(check_names)] = ()
    """Public names under which it is reached: `mines.example.org`."""
    proxies: Annotated[tuple[str, ...], AfterValidator(check_proxies)] = ()
    """Addresses of proxies, or networks of them, whose word on who asks is taken."""
    redact: str | None = None
    """What viewers see of places, see `read_redaction`; None for the places themselves."""
    delay: str | None = None
    """What is younger is held back from them."""
    requests_per_second: float = Field(default=100.0, gt=0)
    """Of one person, over a longer time."""
    requests_at_once: int = Field(default=1000, ge=1)
    """Of one person, after a rest."""
    heavy_per_minute: int = Field(default=30, ge=1)
    """Exports, reports, uploads and analyses of one person."""
    strangers_per_second: float = Field(default=20.0, gt=0)
    """Requests from one address of whoever has not logged in."""
    uploads_at_once: int = Field(default=2, ge=1, le=16)
    """Files that are received and read at a time."""
    upload_mb: float = Field(default=50.0, gt=0, le=1000)
    """Largest layer."""
    upload_s: float = Field(default=60.0, gt=0)
    """How long reading an upload may take."""
    worker: bool = False
    """Whether it starts a worker of its own for analyses."""
    source: str = "earth-search"
    """Catalogue that analyses search; see `sluice.app.analysis`."""
    model: str = "default"
    """That analyses use."""
    keep: str | None = None
    """Bands of images that its worker keeps, with commas."""
    jobs_out: Path | None = None
    """Where analyses leave their files; None for beside the store."""
    largest_km2: float = Field(default=10_000, gt=0)
    """Largest area of an analysis."""
    longest_days: int = Field(default=1100, ge=1)
    """Longest period of one."""
    most_periods: int = Field(default=36, ge=1)
    """Of one."""
    most_vertices: int = Field(default=10_000, ge=4)
    """Of an outline that is sent."""
    jobs_per_person: int = Field(default=3, ge=1)
    """Analyses of one person that may wait and run at a time."""
    jobs_open: int = Field(default=20, ge=1)
    """Of all together."""
    reports_per_person: int = Field(default=1000, ge=1)
    """Mines that one person may have reported."""

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this computer reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is that of the computer itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
