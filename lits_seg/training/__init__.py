"""The LightningModule, its losses and callbacks, and the checkpoints that they write."""
