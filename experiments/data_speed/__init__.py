"""Measure whether training ever waits for its data."""
