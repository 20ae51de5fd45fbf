"""Measure what an exported file keeps of a checkpoint."""
