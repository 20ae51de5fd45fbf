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


OWN = [
    model
    for model in MODELS
    if model_config(f"model={model}")._target_.rpartition(".")[0] == "lits_seg.models"
    and model != "detector"  # has one logit for a whole window
]
WITH_DECODERS = [model for model in OWN if "upsample" in model_config(f"model={model}")]  # decoder= applies
# Networks with a decoder of their own, narrowed.
LEVELS = "model.widths=[8,8,16,16,32]"
NARROW_OWN = {
    "denseunet_161": ("model.init_features=12", "model.growth_rate=4", "model.block_config=[2,2,2,2]"),
    "drozdzal_2016": (
        *("model.kinds=[simple,bottleneck,bottleneck,bottleneck]", "model.widths=[8,16,32,32]"),
        *("model.repetitions=[1,2,1,2]", "model.width=8"),
    ),
    "driu": (LEVELS, "model.side_width=4"),
    "fcn8s": (LEVELS, "model.head_width=32"),
    "han": NARROW,
    "mobilenet_v1": (LEVELS,),
    "segnet": (LEVELS,),
    "ternausnet": ("model.base_width=4",),
    "vorontsov": ("model.kinds=[simple,basic,basic,basic]", "model.widths=[8,8,8,16]", "model.width=8"),
}
NARROW_OWN["drozdzal_2018"] = (*NARROW_OWN["drozdzal_2016"], "model.preprocessor=[4,8,8]")
NARROW_DETECTOR = (
    *("model.cell=24", "model.around=6", "model.margin=4", "model.liver_pixels=100", "model.lesion_pixels=8"),
    *("model.layers=[1,1,1,1]", "model.widths=[4,4,8,8]"),
)
# The overrides of every network of the package: with each decoder, or with the decoder of its own.
EVERY = [(f"model={model}", f"decoder={decoder}", *NARROW) for model in WITH_DECODERS for decoder in DECODERS] + [
    (f"model={model}", *NARROW_OWN.get(model, ())) for model in OWN if model not in WITH_DECODERS
]
