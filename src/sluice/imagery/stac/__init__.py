"""Scenes from STAC: APIs, static catalogues, files of items."""
