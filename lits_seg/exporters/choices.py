"""Name the formats and precisions of exported files."""

from lits_seg.common.errors import InputError

WORTH = "A file is worth it if it loses at most"  # in the table, by which a later export recognises it
BROWSER = ("html", "site")  # pages with an ONNX file inside
# The precisions in which each runtime can compute, or at least store weights, on a CPU.
PRECISIONS = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "executorch": ("fp32",),
    "html": ("fp32", "fp16", "int8"),
    "site": ("fp32", "fp16", "int8"),
}
ENDINGS = {
    "onnx": ".onnx",
    "openvino": ".openvino.zip",
    "executorch": ".pte",
    "html": "_research_use_only.html",
    "site": "_research_use_only_site",
}


def pairs(formats: list[str], precisions: list[str] | None) -> list[tuple[str, str]]:
    """Return the pairs of format and precision to export; fp32, the reference, is added to each format if missing.

    Args:
        formats: names of formats; ``["all"]``: all formats.
        precisions: names of precisions; ``["all"]``: all precisions of each format; None: fp16 for pages, which need
            no reference, and fp32 for other formats.

    Raises:
        InputError: if a pair is not supported or is repeated.
    """
    works = "; ".join(f"format={name} precision={', '.join(PRECISIONS[name])}" for name in PRECISIONS)
    formats = list(PRECISIONS) if formats == ["all"] else formats
    wanted = [
        (name, precision)
        for name in formats
        for precision in (PRECISIONS.get(name, ("?",)) if precisions == ["all"] else precisions or [_default(name)])
    ]
    for name, precision in wanted:
        if precision not in PRECISIONS.get(name, ()):
            raise InputError("format and precision", f"one of: {works}", f"format={name} precision={precision}")
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError("format and precision", f"some of: {works}; each once", wanted or "none")
    references = [(name, "fp32") for name in dict.fromkeys(formats) if name not in BROWSER]
    return [pair for pair in references if pair not in wanted] + wanted


def _default(format: str) -> str:
    return "fp16" if format in BROWSER else "fp32"
