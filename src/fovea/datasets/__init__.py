"""Readers of published benchmarks, in the formats that they are published in."""
