"""Hostile input for everything that reads something from outside: `python -m benchmarks.fuzz`."""
