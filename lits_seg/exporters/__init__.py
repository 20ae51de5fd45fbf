"""Export checkpoints to single files that include pre-processing and run without PyTorch, and verify the files."""
