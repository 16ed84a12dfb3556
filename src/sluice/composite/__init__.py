"""Pure arrays: clear sky, reduction over time, indices."""
