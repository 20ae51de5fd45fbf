"""Contain the network that comes with the package: an ONNX file, a checkpoint, and a card that describes both."""
