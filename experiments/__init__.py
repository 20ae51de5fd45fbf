"""Measure the claims: each folder has a question, a command, tables, and the program that writes the tables."""
