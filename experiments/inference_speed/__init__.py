"""What a slice and a whole CT cost, by network and engine."""
