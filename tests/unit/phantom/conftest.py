"""One small series and its catalogues, drawn once."""

import datetime as dt

import pytest

from sluice.phantom.series import PhantomSeries, build_series

DATES = (dt.date(2021, 12, 26), dt.date(2022, 1, 15), dt.date(2022, 2, 4), dt.date(2022, 8, 23))
CLOUD_SHARES = (0.0, 0.35, 0.0, 1.0)


@pytest.fixture(scope="session")
def series() -> PhantomSeries:
    """Two dates on each side of 25 January 2022: clear, cloudy, clear, overcast."""
    return build_series(2, 360, DATES, mine_count=5, largest_ha=25, cloud_shares=CLOUD_SHARES)
