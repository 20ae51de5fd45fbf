"""Measure the time of scoring masks and the memory of predicting."""
