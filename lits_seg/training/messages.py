"""Hide messages that do not help a user: those of other libraries, and the repetitions of several ranks."""

import logging
import warnings

from pytorch_lightning.utilities import rank_zero_only

# Lightning's loggers for available devices, loaded files and advertisements.
CHATTY = ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda")

# Lightning's advice against settings that conf/ chooses on purpose, and a warning that every resumed run causes.
ADVICE = (
    "The number of training batches .* is smaller than the logging interval",
    "The '.*_dataloader' does not have many workers",
    "Total length of `DataLoader` across ranks is zero",
    "Found .* in eval mode at the start of training",  # the liver network of a cascade
    "Checkpoint directory .* exists and is not empty",
    "The `srun` command is available on your system but is not used",  # hydra/launcher=slurm uses it
)

# Deprecation warnings between these libraries: a user of lits_seg cannot fix the calls.
LIBRARIES = r"(lightning_fabric|monai|pytorch_lightning|tensorboard|torch|torchmetrics|wandb)\b"


def hide_chatter() -> None:
    """Hide advertisements, routine messages and deprecation warnings of other libraries; keep all other warnings.

    Own warnings are shown on the first rank alone: all ranks read the same settings and patients.
    """
    if rank_zero_only.rank > 0:
        logging.getLogger("lits_seg").setLevel(logging.ERROR)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in ADVICE:
        warnings.filterwarnings("ignore", message, module=r"(pytorch_lightning|lightning_fabric)\b")
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=LIBRARIES)
