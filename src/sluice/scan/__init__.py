"""Tiles, windows, prediction and blending; gets protocols, knows no model."""
