"""Discover, read, check, pre-process, store, split, sample and augment CT volumes and their slices."""
