"""The project's own networks, as the configurations in ``conf/`` describe them."""

from functools import cache

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from lits_seg.common.files import CONF

NARROW = ("model.encoder_widths=[8,8,16,16]", "model.innermost_width=64", "model.decoder_widths=[64,32,16,8]")
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
DECODERS = sorted(path.stem for path in (CONF / "decoder").glob("*.yaml"))


@cache
def model_config(*overrides: str) -> DictConfig:
    """Return the configuration of a network, composed as ``train`` composes it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides)).model


OWN = [model for model in MODELS if model_config(f"model={model}")._target_.rpartition(".")[0] == "lits_seg.models"]
WITH_DECODERS = [model for model in OWN if "upsample" in model_config(f"model={model}")]  # decoder= applies
# The overrides of every network of the package: with each decoder, or with the decoder of its own.
EVERY = [
    (f"model={model}", f"decoder={decoder}", *NARROW)[: None if model in WITH_DECODERS else 1]
    for model in OWN
    for decoder in (DECODERS if model in WITH_DECODERS else DECODERS[:1])
]
