"""The names of the ways to find clouds, and to reduce several looks at one place to one."""

from typing import Literal

Method = Literal["median", "medoid", "minimum", "p10", "p25", "p75", "p90"]
"""p10: the 10th percentile, and so on."""

CloudMask = Literal["layer", "omnicloudmask", "spectral"]
"""The image's own cloud layer, OmniCloudMask, or a test of each pixel's spectrum."""
