"""Labels of mines: chips, polygons and points, and their splits."""
