"""Messages of other libraries: which of them a user need not read."""

import logging
import warnings

# Lightning's loggers of what devices there are, what a file was loaded from, and what else one could install.
CHATTY = ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda")

# Lightning's advice on settings that conf/ chooses on purpose, and a warning of each resumed run.
ADVICE = (
    "The number of training batches .* is smaller than the logging interval",
    "The '.*_dataloader' does not have many workers",
    "Checkpoint directory .* exists and is not empty",
)

# A user of this package cannot correct what its libraries ask of one another.
LIBRARIES = r"(lightning_fabric|monai|pytorch_lightning|tensorboard|torch|torchmetrics|wandb)\b"


def hide_chatter() -> None:
    """Hide advertisements, chatter and deprecation warnings of the libraries; their other warnings stay."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in ADVICE:
        warnings.filterwarnings("ignore", message, module="pytorch_lightning")
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=LIBRARIES)
