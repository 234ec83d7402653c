"""Measuring: examples, protocols, tables."""
