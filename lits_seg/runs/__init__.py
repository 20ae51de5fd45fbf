"""Run folders: their names, configurations, provenance and results."""
