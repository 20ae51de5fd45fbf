"""Runs the programs of ``experiments/`` within this process, on networks that take seconds."""

from functools import partial

from helpers.commands import failed_command, run_command

NARROW = ("model.encoder_widths=[8,8,16,16]", "model.innermost_width=32", "model.decoder_widths=[16,16,16,16]")

run_experiment = partial(run_command, package="experiments")
failed_experiment = partial(failed_command, package="experiments")


def overrides(*values: str) -> str:
    """Return the setting of an experiment that overrides the networks' configurations."""
    return f"overrides=[{','.join(repr(value) for value in values)}]"
