"""Generate synthetic CT volumes with liver lesions in LiTS layout."""
