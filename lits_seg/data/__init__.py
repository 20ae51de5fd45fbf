"""CT volumes and their slices: discover, read, check, pre-process, store, split, sample and augment."""
