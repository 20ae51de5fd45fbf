"""A CT from file to mask, report and viewer. Free of PyTorch, except for ``ensemble``."""
