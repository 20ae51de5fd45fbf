"""Finished runs compared: pooled over folds and seeds, tabulated, plotted and written as one page."""
