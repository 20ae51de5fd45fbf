"""Choose the numbers that a network is trained with."""

import logging

import torch

log = logging.getLogger(__name__)


def chosen_precision(precision: str | int, accelerator: str) -> str | int:
    """Replace ``auto`` by ``bf16-mixed`` if the device computes faster with bfloat16, otherwise by ``32-true``.

    Args:
        precision: Lightning's ``precision``, or ``auto``.
        accelerator: Lightning's ``accelerator``.

    Returns:
        Lightning's ``precision``. The reason for the choice is logged.
    """
    if precision != "auto":
        return precision
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        fast, reason = torch.cuda.is_bf16_supported(including_emulation=False), torch.cuda.get_device_name()
    else:
        # Without these instructions, PyTorch emulates bfloat16 convolutions, 9 to 76 times slower than float32.
        # PyTorch has no public test for them.
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        reason = f"a CPU {'with' if fast else 'without'} AVX512-BF16 or AMX"
    chosen = "bf16-mixed" if fast else "32-true"
    log.info("precision=auto: %s, since this is %s", chosen, reason)
    return chosen
