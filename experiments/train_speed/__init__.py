"""Measure how much faster the light network trains."""
