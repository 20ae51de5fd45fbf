"""Masks scored against references, whichever program made them."""
