"""Measurements. `python -m benchmarks --help` from the repository's root."""
