"""Sluice finds and follows artisanal and small-scale mines in satellite images."""

__version__ = "0.1.0"
