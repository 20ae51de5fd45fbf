"""Time of scoring masks, and memory of predicting."""
