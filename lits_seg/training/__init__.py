"""The LightningModule, its losses and callbacks, and reading of checkpoints."""
