"""Benchmarks: `python -m bench NAME`. Nothing imports this package."""
