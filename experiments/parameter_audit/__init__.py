"""Count the parameters of the paper's network, by reading of the text."""
