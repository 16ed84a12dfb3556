"""Persistence: one schema, in an embedded SQLite file or in PostGIS."""
