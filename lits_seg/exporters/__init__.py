"""A checkpoint as one file that runs without PyTorch, with pre-processing in its graph, checked after writing."""
