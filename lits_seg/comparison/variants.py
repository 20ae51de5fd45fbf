"""Name the variant of each run: the network, and the settings that differ between runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lits_seg.comparison.finished_runs import Run
from lits_seg.data.named_splits import ALL, NAMED
from lits_seg.runs.folder import CONTINUED, OWN
from lits_seg.runs.folder import FREE as FREE_OF_A_RUN

# Settings that do not make a variant: paths and speed do not change what is learned, test data makes groups.
FREE = (
    *FREE_OF_A_RUN,
    CONTINUED,  # usually, each fold has a checkpoint of its own, see _with_checkpoints
    "module",
    "store",
    "baseline",
    "data.root",
    "data.test_root",
    "data.generate",
    "data.fold",
    "data.folds",
    "data.preprocess.size",
    "data.store",
    "data.workers",
    "data.eval_batch_size",
    "data.device_resident",
    "trainer.accelerator",
    "trainer.num_nodes",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.num_sanity_val_steps",
    "trainer.default_root_dir",
)
SEEDS = ("seed", "split_seed")
NETWORK = ("model", "decoder")
CLASSES = "model.out_channels"  # compared among all runs: the classes belong to the task, not to the model
ABSENT = "none"
FOLDS, FILES = "folds", "files"


def names(group: Sequence[Run]) -> list[str]:
    """Return a name for each run: model, decoder, and the other settings that differ within the group.

    Runs of the same name are one variant. Settings of a model are only compared among runs of that model and decoder.
    The checkpoint that a run continues from counts if other runs repeat its tests from other checkpoints.
    """
    all_settings = [settings(run.config) for run in group]
    kinds = [(run.result.model, run.result.decoder) for run in group]
    shared = _differing([_part(one, own=False) for one in all_settings])
    found = []
    for kind, one in zip(kinds, all_settings, strict=True):
        same_kind = [other for other, other_kind in zip(all_settings, kinds, strict=True) if other_kind == kind]
        own = _differing([_part(other, own=True) for other in same_kind])
        texts = [f"{label} {_text(one.get(key))}" for key, label in (shared | own).items()]
        found.append(", ".join([*kind, *texts]))
    return _with_checkpoints(group, found)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a resolved config that change what is learned, by dotted key."""
    found = {key: value for key, value in _leaves(config) if not _is_free(key)}
    if config["data"].get("test_root") is None:  # else the split changes the training alone
        found.pop("data.split", None)
    return found


def split_of(config: Mapping[str, Any]) -> str | None:
    """Return how the test patients of a run were chosen among the others, by its resolved config.

    Returns:
        ``folds``, the name of another split, or ``files``; None if the test volumes are outside the data set.
    """
    data = config["data"]
    split = data.get("split", FOLDS)  # earlier versions had folds only
    if data.get("test_root") is not None:
        return None
    return split if split in (FOLDS, ALL, *NAMED) else FILES


def scored(run: Run) -> list[tuple[int, int | None, str]]:
    """Return seed, fold and patient of each test of a run; runs of a variant have no test in common.

    The fold is None unless the test volumes are outside the folds. There, every fold's network is tested on all
    volumes: folds repeat as seeds do.
    """
    fold = None if run.config["data"].get("test_root") is None else run.result.fold
    return [(run.result.seed, fold, case.case) for case in run.result.cases]


def _with_checkpoints(group: Sequence[Run], found: list[str]) -> list[str]:
    """Add the checkpoint that a run continues from to names whose runs repeat a test from several checkpoints."""
    given = [run.config.get(CONTINUED) for run in group]
    starts = [ABSENT if checkpoint in OWN else str(checkpoint) for checkpoint in given]
    by_test: dict[tuple, set[str]] = {}
    for run, name, start in zip(group, found, starts, strict=True):
        for test in scored(run):
            by_test.setdefault((name, *test), set()).add(start)
    several = {name for (name, *_), those in by_test.items() if len(those) > 1}
    label = _short(CONTINUED)
    return [f"{name}, {label} {start}" if name in several else name for name, start in zip(found, starts, strict=True)]


def _is_free(key: str) -> bool:
    return key.split(".")[-1] in SEEDS or any(key == free or key.startswith(f"{free}.") for free in FREE)


def _leaves(node: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, Mapping):
        return [leaf for k, part in node.items() for leaf in _leaves(part, f"{key}.{k}" if key else str(k))]
    return [(key, node)]


def _part(one: dict[str, Any], own: bool) -> dict[str, Any]:
    return {key: value for key, value in one.items() if (key.split(".")[0] in NETWORK and key != CLASSES) == own}


def _differing(many: list[dict[str, Any]]) -> dict[str, str]:
    """Return a short label for each key whose values differ; of keys that always agree, only the shortest is kept."""
    columns: dict[tuple[str, ...], str] = {}
    for key in sorted({key for one in many for key in one}, key=lambda key: (len(key), key)):
        column = tuple(json.dumps(one.get(key)) for one in many)
        if len(set(column)) > 1:
            columns.setdefault(column, key)
    keys = list(columns.values())
    short = [_short(key) for key in keys]
    return {key: label if short.count(label) == 1 else key for key, label in zip(keys, short, strict=True)}


def _short(key: str) -> str:
    return key.removesuffix("._target_").split(".")[-1].replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(_text(part) for part in value)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else str(value)
    if isinstance(value, str):
        return value.rsplit(".", 1)[-1] if value.isascii() and value.replace(".", "").isidentifier() else value
    return ABSENT if value is None else str(value)
