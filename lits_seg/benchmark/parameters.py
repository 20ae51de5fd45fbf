"""The parameter audit: what each network costs, by reading of the paper and by decoder."""

from typing import Any

from hydra import compose
from hydra.utils import instantiate

from lits_seg.models.cost import count_macs, count_parameters

# The paper's section V.A can be read in several ways; each is a config, or overrides of one.
READINGS: tuple[tuple[str, list[str]], ...] = (
    ("the baseline UNet", ["model=unet", "decoder=deconv"]),
    ("the default: single innermost convolution, decoder 240-128-64-32", ["model=dsc_unet"]),
    ("decoder 256-128-64-32", ["model=dsc_unet", "model.decoder_widths=[256,128,64,32]"]),
    ("the text word by word: mirrored decoder, innermost block, 2x2", ["model=dsc_unet_literal"]),
    ("the same with 3x3", ["model=dsc_unet_literal", "model.kernel_size=3"]),
    ("mirrored decoder, single innermost convolution", ["model=dsc_unet", "model.decoder_widths=[512,256,128,64]"]),
    ("shortcuts without parameters, 512 innermost", ["model=dsc_unet_pad"]),
)
DECODERS = ("subpixel", "bilinear", "nearest", "bicubic", "subpixel_all", "deconv", "espcn", "maxunpool")


def parameter_audit(size: int) -> str:
    """Two Markdown tables: the readings of the paper's text, and all decoders of both models.

    Every figure is counted from the built network; GMAC are for one slice ``(1, 1, size, size)``.
    """
    baseline = _cost(["model=unet", "decoder=deconv"], size)
    readings = [(name, _cost(overrides, size)) for name, overrides in READINGS]
    pairs = [
        (f"{model}, {decoder}", _cost([f"model={model}", f"decoder={decoder}"], size))
        for model in ("dsc_unet", "unet")
        for decoder in DECODERS
    ]
    return (
        "# Readings of the paper's network (decoder=subpixel unless named)\n\n"
        + _table("reading", readings, baseline)
        + "\n# Every model with every decoder\n\n"
        + _table("model, decoder", pairs, baseline)
        + f"\nGMAC: one slice of {size} x {size}. Written by `python -m lits_seg.benchmark parameters`.\n"
    )


def _cost(overrides: list[str], size: int) -> tuple[int, int]:
    network = instantiate(compose("train", overrides).model)
    return count_parameters(network), count_macs(network, size=size)


def _table(title: str, rows: list[tuple[str, tuple[int, int]]], baseline: tuple[int, int]) -> str:
    lines: list[Any] = [f"| {title} | parameters | fewer than the UNet | GMAC | fewer |", "|---|---:|---:|---:|---:|"]
    for name, (parameters, macs) in rows:
        ratio, macs_ratio = baseline[0] / parameters, baseline[1] / macs
        lines.append(f"| {name} | {parameters:,} | {ratio:.2f} x | {macs / 1e9:.2f} | {macs_ratio:.2f} x |")
    return "\n".join(lines) + "\n"
