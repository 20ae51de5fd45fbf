"""Compare finished runs: pool folds and seeds, and write tables, figures and an HTML page."""
