"""Hide messages of other libraries that do not help a user."""

import logging
import warnings

# Lightning's loggers for available devices, loaded files and advertisements.
CHATTY = ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda")

# Lightning's advice against settings that conf/ chooses on purpose, and a warning that every resumed run causes.
ADVICE = (
    "The number of training batches .* is smaller than the logging interval",
    "The '.*_dataloader' does not have many workers",
    "Total length of `DataLoader` across ranks is zero",
    "Found .* in eval mode at the start of training",  # the liver network of a cascade
    "Checkpoint directory .* exists and is not empty",
)

# Deprecation warnings between these libraries: a user of lits_seg cannot fix the calls.
LIBRARIES = r"(lightning_fabric|monai|pytorch_lightning|tensorboard|torch|torchmetrics|wandb)\b"


def hide_chatter() -> None:
    """Hide advertisements, routine messages and deprecation warnings of other libraries; keep all other warnings."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in ADVICE:
        warnings.filterwarnings("ignore", message, module="pytorch_lightning")
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=LIBRARIES)
