"""Score a checkpoint on the test patients of its run or on other volumes, without writing masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import LambdaCallback

from lits_seg.common.errors import InputError
from lits_seg.common.files import sha256
from lits_seg.common.ownership import PICTURE, Kind, require_free, table_file
from lits_seg.common.records import as_plain
from lits_seg.data.datamodule import SliceDataModule
from lits_seg.evaluation.recorded_data import recorded_volumes
from lits_seg.evaluation.score_tables import References, write_scores
from lits_seg.metrics.scores import CaseScores
from lits_seg.models import for_inference
from lits_seg.models.cost import count_macs
from lits_seg.postprocess import Changes
from lits_seg.runs.folder import CONFIG, PICTURES, recorded_split, run_of
from lits_seg.runs.provenance import CheckpointFile, provenance
from lits_seg.runs.result import NetworkFacts, NetworkResult, mean_scores, table
from lits_seg.training.callbacks import progress
from lits_seg.training.cascades import UnseenBy, load_cascade
from lits_seg.training.checkpoints import FITTED, network_facts, read_checkpoint
from lits_seg.training.messages import hide_chatter
from lits_seg.training.module import LesionModule
from lits_seg.training.patient_scores import CASES, OVERLAYS, PatientScores
from lits_seg.training.precision import chosen_precision
from lits_seg.training.targets import Foreground


def evaluate_checkpoint(cfg: DictConfig, rules: Changes) -> str:
    """Score a checkpoint on whole volumes, draw overlays, and return the text to print.

    Args:
        cfg: configuration of ``evaluate``.
        rules: changes of the checkpoint's rules.
    """
    hide_chatter()
    module = load_cascade(cfg.ckpt, cfg.liver_ckpt)
    module.rules = rules.of(module.rules)
    datamodule = checkpoint_volumes(cfg, module)
    facts = network_facts(module)
    macs = count_macs(module.network, datamodule.context, datamodule.preprocess.size)
    module.network = for_inference(module.network)
    output = Path(cfg.output)
    scored = PatientScores(output)
    free = LambdaCallback(on_test_start=lambda trainer, _: require_free(pictures(output, trainer.datamodule)))
    unseen = [] if cfg.liver_ckpt is None else [UnseenBy("liver_ckpt", cfg.liver_ckpt)]
    datamodule.allow_overlap |= cfg.data.allow_overlap
    trainer = pl.Trainer(
        accelerator=cfg.accelerator,
        devices=1,
        precision=chosen_precision(cfg.precision, cfg.accelerator),
        logger=False,
        callbacks=[free, scored, progress(), *unseen],
        use_distributed_sampler=False,
    )
    new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        trainer.test(module, datamodule, verbose=False)
    except BaseException:
        if new and not any(output.iterdir()):
            output.rmdir()
        raise
    result = _result(facts, macs, datamodule, scored.cases, module.structures[0])
    recorded = {**as_plain(provenance(cfg.ckpt)), **as_plain(result), "rules": module.rules.plain()}
    if cfg.liver_ckpt is not None:
        recorded["liver_checkpoint"] = as_plain(CheckpointFile(cfg.liver_ckpt, sha256(cfg.liver_ckpt)))
    text = write_scores(output, scored.cases, References(result.data, result.synthetic), recorded)
    return "\n\n".join([text, table([result]), *_warnings(cfg, {case.case for case in scored.cases})])


def pictures(output: Path, datamodule: SliceDataModule) -> dict[Path, Kind]:
    """Return the pictures and the table that ``PatientScores`` writes into a folder, with their kinds.

    Args:
        output: the folder.
        datamodule: volumes whose test patients are scored.
    """
    drawn = [OVERLAYS, *(f"{PICTURES}/{case.name}.png" for case in datamodule.split["test"])]
    return {output / CASES: table_file("case,lesion_"), **{output / name: PICTURE for name in drawn}}


def checkpoint_volumes(cfg: DictConfig, module: LesionModule, part: Literal["val", "test"] = "test") -> SliceDataModule:
    """Return the volumes in ``cfg.references``, or those of the run of ``cfg.ckpt``.

    Args:
        cfg: configuration of ``evaluate``.
        module: the checkpoint's module, which defines the pre-processing.
        part: the part of the run's split that must have patients.

    Raises:
        InputError: if no references are given and the checkpoint is not in a run folder.
    """
    if cfg.references is not None:
        return SliceDataModule(
            root=cfg.references,
            test_root=cfg.references,
            store=cfg.store,
            preprocess=module.preprocess,
            context=module.context,
            eval_batch_size=cfg.batch_size,
            workers=cfg.workers,
            trained_on=_trained_on(cfg),
            allow_overlap=OmegaConf.select(cfg, "data.allow_overlap", default=False),  # not a setting of export
        )
    run = run_of(cfg.ckpt)
    if not (run / CONFIG).exists():
        raise InputError(cfg.ckpt, "references=FOLDER, or a checkpoint within its run folder", f"no {run / CONFIG}")
    return recorded_volumes(run, module, cfg.batch_size, cfg.workers, part)


def _result(
    facts: NetworkFacts, macs: int, datamodule: SliceDataModule, cases: Sequence[CaseScores], structure: Foreground
) -> NetworkResult:
    return NetworkResult(
        **vars(facts),
        model=str(facts.network),
        macs=macs,
        data=str(datamodule.test_root or datamodule.root),
        size=datamodule.preprocess.size,
        selected_on_test=datamodule.selected_on_test,
        synthetic=datamodule.synthetic or None,
        scores=mean_scores([getattr(case.voxels, structure) for case in cases]),
        structure=structure,
    )


def _trained_on(cfg: DictConfig) -> dict[str, dict[str, str]]:
    """Return the fingerprints of the patients that this checkpoint has seen, as far as its run has them."""
    split = recorded_split(run_of(cfg.ckpt))
    return split.seen() if split else {}


def _warnings(cfg: DictConfig, scored: set[str]) -> list[str]:
    """Return warnings if this checkpoint has seen patients with the names of scored ones.

    Names count only for patients without a recorded fingerprint: the CTs of all others were compared.
    """
    split = None if cfg.references is None else recorded_split(run_of(cfg.ckpt))
    compared = {name for marks in (split.seen() if split else {}).values() for name in marks}
    seen = {
        "this checkpoint was trained or selected": split.names("train", "val") if split else (),
        "rules and temperature of this checkpoint were fitted": read_checkpoint(cfg.ckpt).get(FITTED, ()),
    }
    return [
        f"warning: {what} on patients of the same name: {', '.join(same)}"
        for what, names in seen.items()
        if (same := sorted(scored.intersection(names) - compared))
    ]
