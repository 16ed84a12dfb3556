"""Sluice as a service: the map that people work in, and the interface for their programs."""
