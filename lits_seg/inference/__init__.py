"""Predict masks, reports and viewer pages from CT files. Only ``ensemble`` needs PyTorch."""
