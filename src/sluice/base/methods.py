"""The names of the ways to reduce several looks at one place to one."""

from typing import Literal

Method = Literal["median", "medoid", "minimum", "p10", "p25", "p75", "p90"]
"""p10: the 10th percentile, and so on."""
