"""Pure arrays: clear sky, the guard, reduction over time, indices, radar, terrain."""
