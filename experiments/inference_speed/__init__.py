"""Measure the cost of a slice and of a whole CT, by network and engine."""
