"""What an exported file keeps."""
