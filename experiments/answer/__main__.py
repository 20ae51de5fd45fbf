"""``python -m experiments.answer``: decide the paper's claims, and compare small networks with the UNet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from experiments.answer.figures import curves_figure, pareto_figure
from experiments.answer.protocol import read_protocol
from experiments.answer.rows import GROUPS, PLANNED, Group, Row
from experiments.answer.tables import Scored, scored
from experiments.answer.text import page
from experiments.answer.verdicts import Times, judge
from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.named_runs import TITLES, Groups, find_runs, patient_rows, read_times, run_rows, synthetic_cases
from experiments.shared.picture import systems_picture
from experiments.shared.trainings import Rate, read_rates
from lits_seg.common.files import write_text
from lits_seg.common.ownership import MARK, PICTURE, table_file
from lits_seg.common.settings import Place
from lits_seg.common.tables import csv_text
from lits_seg.comparison.finished_runs import Run, opened, read_run

# Engines of the times; for PyTorch, the faster order of memory counts.
ENGINES = {
    "PyTorch": ("PyTorch, contiguous", "PyTorch, channels-last"),
    "ONNX Runtime": ("ONNX Runtime",),
    "OpenVINO": ("OpenVINO",),
    "WebAssembly": ("WebAssembly",),
}
COST_ENGINE = "ONNX Runtime"  # whose times are drawn
FIGURES = ("pareto.png", "curves.png", "patient.png")
OUTPUTS = {
    "answer.md": PUBLISHED,
    "patients.csv": table_file("regime,data,system,"),
    "runs.csv": table_file("run,seed,steps,train_seconds,"),
    **dict.fromkeys(FIGURES, PICTURE),
}


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    runs: Place
    plan: Place
    rates: Place | None
    speed: list[str]
    output: Place


@command("answer/settings", Settings, OUTPUTS)
def main(cfg: Settings) -> None:
    """Read the runs, print verdicts and tables, and write tables and figures into ``output``."""
    with opened(cfg.runs) as folder:
        groups, others = find_runs(folder, "experiments.answer.plan", PLANNED)
        _write(cfg, groups, others)


def engine_times(tables: Sequence[Path]) -> Times:
    """Return the milliseconds of a slice by engine and network; of several tables, a later one counts.

    Args:
        tables: tables as ``inference.csv``.
    """
    return {name: {k: v for path in tables for k, v in read_times(path, of).items()} for name, of in ENGINES.items()}


def runs_of(one: Scored) -> list[Run]:
    """Return the runs of a network, with their curves and versions."""
    return [read_run(folder, folder.name) for folder, _ in one.folds.values()]


def figures(
    found: Mapping[Group, Sequence[Scored]],
    runs: Mapping[Group, Mapping[Row, Sequence[Run]]],
    rates: Mapping[str, Rate],
    times: Times,
    groups: Groups,
) -> Iterator[Figure | None]:
    """Yield the figures in the order of ``FIGURES``; None for one without data.

    Args:
        found: the scored networks of each group.
        runs: the runs of each group by row.
        rates: sizes and training rates by network.
        times: milliseconds of a slice by engine and network.
        groups: the runs by regime and data, and by system.
    """
    parameters = {name: float(rate.parameters) for name, rate in rates.items()}
    costs = {f"ms a slice, {COST_ENGINE}, one thread": times[COST_ENGINE], "parameters": parameters}
    yield pareto_figure({group.title: of_group for group, of_group in found.items()}, costs)
    yield curves_figure(runs, rates)
    titles = {row.system: row.title.replace("`", "") for group in GROUPS for row in group.rows}
    tested = synthetic_cases(groups.get(("minutes", "phantom"), {}), 0)
    yield systems_picture({titles.get(name, name): one for name, one in tested.items()}, TITLES["minutes"])


def _write(cfg: Settings, groups: Groups, others: list[str]) -> None:
    protocol = read_protocol(Path(cfg.plan))
    rates = {} if cfg.rates is None else read_rates(Path(cfg.rates))
    times = engine_times(list(map(Path, cfg.speed)))
    found = {group: scored(group, groups.get((group.regime, group.data), {})) for group in GROUPS}
    runs = {group: {one.row: runs_of(one) for one in of_group} for group, of_group in found.items()}
    every = [run for of_group in runs.values() for of_row in of_group.values() for run in of_row]
    output = Path(cfg.output)
    output.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, figure in zip(FIGURES, figures(found, runs, rates, times, groups), strict=True):
        if figure is not None:
            figure.savefig(output / name, dpi=110, metadata=MARK)
            drawn.append(name)
    claims = judge(rates, times, groups, protocol)
    publish(page(found, every, rates, times, claims, drawn, others, protocol), output / "answer.md")
    write_text(output / "patients.csv", csv_text(list(patient_rows(groups))))
    write_text(output / "runs.csv", csv_text(list(run_rows(every))))


if __name__ == "__main__":
    main()
