"""What measures a claim, a folder a claim: question, command, tables and the program that writes them."""
