"""``python -m experiments.parameter_audit``: count the cost of each network, by reading of the paper and by decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate

from experiments.shared.command import PUBLISHED, command, publish, train_config
from experiments.shared.networks import DECODERS
from lits_seg.common.settings import Place, Size
from lits_seg.common.tables import markdown
from lits_seg.models.cost import count_macs, count_parameters

# Readings of the paper's section V.A, each with the overrides that build the network.
READINGS: tuple[tuple[str, list[str]], ...] = (
    ("the baseline UNet", ["model=unet", "decoder=deconv"]),
    ("the default: single innermost convolution, decoder 240-128-64-32", ["model=dsc_unet"]),
    ("decoder 256-128-64-32", ["model=dsc_unet", "model.decoder_widths=[256,128,64,32]"]),
    ("the text word by word: mirrored decoder, innermost block, 2x2", ["model=dsc_unet_literal"]),
    ("the same with 3x3", ["model=dsc_unet_literal", "model.kernel_size=3"]),
    ("mirrored decoder, single innermost convolution", ["model=dsc_unet", "model.decoder_widths=[512,256,128,64]"]),
    ("shortcuts without parameters, 512 innermost", ["model=dsc_unet_pad"]),
)

Cost = tuple[int, int]  # parameters, multiply-accumulates of a slice


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    output: Place
    size: Size


@command("parameter_audit/settings", Settings, {"parameters.md": PUBLISHED})
def main(cfg: Settings) -> None:
    """Count, print the tables and write the tables into ``output``."""
    publish(parameter_audit(cfg.size), Path(cfg.output) / "parameters.md")


def parameter_audit(size: int) -> str:
    """Count the cost of each reading of the paper, and of both networks with all decoders, from the built networks.

    Args:
        size: side of the slice ``(1, 1, size, size)`` that GMAC are counted for, pixels.

    Returns:
        Two Markdown tables.
    """
    baseline = _cost(["model=unet", "decoder=deconv"], size)
    readings = [(name, _cost(overrides, size)) for name, overrides in READINGS]
    pairs = [
        (f"{model}, {decoder}", _cost([f"model={model}", f"decoder={decoder}"], size))
        for model in ("dsc_unet", "unet")
        for decoder in DECODERS
    ]
    return "\n".join(
        [
            "# Readings of the paper's network (decoder=subpixel unless named)",
            "",
            _table("reading", readings, baseline),
            "",
            "# Every model with every decoder",
            "",
            _table("model, decoder", pairs, baseline),
            "",
            f"GMAC: one slice of {size} x {size}. Written by `python -m experiments.parameter_audit size={size}`.",
            "",
        ]
    )


def _cost(overrides: Sequence[str], size: int) -> Cost:
    network = instantiate(train_config(*overrides).model)
    return count_parameters(network), count_macs(network, size=size)


def _table(title: str, costs: Sequence[tuple[str, Cost]], baseline: Cost) -> str:
    rows = [
        [
            name,
            f"{parameters:,}",
            f"{baseline[0] / parameters:.2f} x",
            f"{macs / 1e9:.2f}",
            f"{baseline[1] / macs:.2f} x",
        ]
        for name, (parameters, macs) in costs
    ]
    return markdown([title, "parameters", "fewer than the UNet", "GMAC", "fewer"], rows, right=True)


if __name__ == "__main__":
    main()
