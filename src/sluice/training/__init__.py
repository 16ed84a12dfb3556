"""Fitting models; the only room besides models that may import torch."""
