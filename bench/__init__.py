"""Speed and memory, one table from one run: `python -m bench`."""
