"""The long evidence: how right the map is, measured anew; `python -m proof`."""
