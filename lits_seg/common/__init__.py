"""Errors, tables, files and optional packages: what every other room may use, and what knows none of them."""
