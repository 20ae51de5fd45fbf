"""Measure the environment that predicting with an exported model needs."""
