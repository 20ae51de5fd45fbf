"""Write the packaged network and its model card."""
