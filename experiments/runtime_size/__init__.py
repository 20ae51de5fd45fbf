"""What predicting with an exported model needs."""
