"""Score masks against references, whichever program made the masks."""
