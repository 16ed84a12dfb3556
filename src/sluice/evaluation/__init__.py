"""Metrics, calibration and intervals; no torch."""
