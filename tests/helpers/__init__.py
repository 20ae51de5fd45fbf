"""What the tests share: commands as a user runs them, small volumes, checkpoints and run folders."""
