"""A run is a folder: its name, its configuration, its provenance and its result."""
