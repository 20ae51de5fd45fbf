"""CT volumes in, slices out: ``volumes -> preprocess -> slices -> datamodule``. Knows no network."""
