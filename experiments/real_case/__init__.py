"""One real LiTS case, to look at what a network trained on synthetic CT makes of it."""
