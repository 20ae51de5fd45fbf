"""Build the browser page, an HTML file that segments a CT on the device itself, from an exported model."""
