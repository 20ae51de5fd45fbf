"""What the networks and the data side cost, measured."""
