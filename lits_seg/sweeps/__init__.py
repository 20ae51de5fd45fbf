"""Start many runs from one command: jobs in separate processes, and hyper-parameter search."""
