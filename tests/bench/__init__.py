"""Measurements beside references on the same machine: `python -m tests.bench`."""
