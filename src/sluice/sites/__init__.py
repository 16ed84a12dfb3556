"""From scores to polygons: thresholds, outlines, areas."""
