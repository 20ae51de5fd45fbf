"""The choice of bfloat16 by the processor."""

import logging

import pytest
import torch

from lits_seg.training.precision import chosen_precision


@pytest.mark.parametrize(
    ("avx", "amx", "expected"), [(False, False, "32-true"), (True, False, "bf16-mixed"), (False, True, "bf16-mixed")]
)
def test_bfloat16_is_chosen_only_if_the_processor_has_it(
    avx: bool, amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    with caplog.at_level(logging.INFO):
        assert chosen_precision("auto", "cpu") == expected
    assert f"precision=auto: {expected}, since" in caplog.text


def test_any_other_precision_is_kept() -> None:
    assert chosen_precision("16-mixed", "cpu") == "16-mixed"
