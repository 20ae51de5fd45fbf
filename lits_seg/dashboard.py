"""``lits-seg dashboard entity=NAME``: write a report on the W&B server that compares a project's runs.

The command needs the network, an account and the ``dashboard`` extra. No other module imports this one.
"""

if __name__ == "__main__":
    from lits_seg.cli import start

    start("dashboard")

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from lits_seg import RESEARCH_USE
from lits_seg.cli import entry
from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError

UPLOAD = "wandb sync runs/**/wandb/offline-run-*"
DEFINITIONS = f"""**{RESEARCH_USE}** Not a medical device: no result may guide the care of a patient.
Runs whose `data` is `phantom`, `smoke` or a folder of such volumes were tested on **synthetic** CT.

| name | meaning |
|---|---|
| `test/dice` | Dice per case of lesions: mean over held-out patients; 1 if both masks are empty, 0 if one is empty |
| `test/dice_global` | Dice of the voxels of all patients together |
| `test/jaccard` | mean over patients of \\|A∩B\\| / \\|A∪B\\| |
| `val/dice` | Dice per case of the patients that select the checkpoint; the table shows the last value, not the best |
| `val/liver/dice` | the same of livers, for networks that segment the liver |
| `parameters` | learnable parameters of the network |
| `macs` | multiply-accumulates of the convolutions for one slice of `size` × `size` |
| `selected_on_test` | true: the test patients also selected the checkpoint, so their scores are optimistic |

A point or bar of several runs (folds, seeds) is their mean. Runs with different `data`,
folds or `size` are not comparable."""
STEP = "trainer/global_step"
FACTS = ("model", "decoder", "data", "fold", "seed", "size", "parameters", "macs", "selected_on_test")
SCORES = ("test/dice", "test/dice_global", "test/jaccard", "val/dice")
CURVES = ("val/dice", "val/liver/dice", "val/loss", "train/loss_epoch", "train/loss_step", "train/dice_global")

Name = Annotated[str, "one name on the W&B server"]


@dataclass(frozen=True)
class Settings:
    """The settings of ``conf/commands/dashboard.yaml``."""

    entity: Name | None  # null must be an error, not the name "null"
    project: Name | None
    sweep: Name | None

    def __post_init__(self) -> None:
        for key, value in (("entity", self.entity), ("project", self.project), ("sweep", self.sweep)):
            if value == "" or "/" in (value or "") or (value is None and key != "sweep"):
                raise InputError(key, "one name on the W&B server", repr(value))


@entry("commands/dashboard", Settings)
def main(cfg: Settings) -> None:
    """Build the report and print its address."""
    entity, project, sweep = str(cfg.entity), str(cfg.project), cfg.sweep
    built = report(entity, project, sweep)
    with _server(entity, project) as api:
        found = len(api.runs(f"{entity}/{project}", filters={} if sweep is None else {"group": sweep}))
        if not found:
            expected = "runs" if sweep is None else f"runs of sweep {sweep}"
            raise InputError(f"{entity}/{project}", f"{expected} ({UPLOAD})", "none")
        url = built.save().url
    print(f"{found} runs: {url}\n{RESEARCH_USE}")


def report(entity: str, project: str, sweep: str | None = None) -> Any:
    """Return a ``wandb_workspaces.reports.v2.Report``, which is sent only by its ``save``.

    Args:
        entity: the user or team on the server.
        project: the project whose runs are compared.
        sweep: name of the sweep whose runs are compared; None: all runs.

    Raises:
        InputError: if ``wandb_workspaces`` is missing.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
    except ImportError as error:
        raise InputError("dashboard", f"the package wandb-workspaces ({install('dashboard')})", error) from error

    runs: dict[str, Any] = {
        "entity": entity,
        "project": project,
        "filters": "" if sweep is None else f"Metric('Group') == {sweep!r}",
        "order": [wr.OrderBy(wr.SummaryMetric("test/dice"))],
        "pinned_columns": ["run:displayName"],
        "visible_columns": [f"summary:{name}" for name in SCORES] + [f"config:{name}.value" for name in FACTS],
    }
    networks = wr.Runset(name="by network and decoder", groupby=["config.model", "config.decoder"], **runs)
    return wr.Report(
        entity=entity,
        project=project,
        title=f"Liver lesions: {project if sweep is None else sweep}",
        description=RESEARCH_USE,
        width="fluid",
        blocks=[
            wr.MarkdownBlock(DEFINITIONS),
            wr.H2("Networks"),
            wr.PanelGrid(runsets=[networks], panels=_score_panels(wr)),
            wr.H2("Training"),
            wr.PanelGrid(runsets=[wr.Runset(name="curves", groupby=networks.groupby, **runs)], panels=_curves(wr)),
            wr.H2("Runs"),
            wr.PanelGrid(runsets=[wr.Runset(name="runs", **runs)], panels=_run_panels(wr)),
        ],
    )


def _score_panels(wr: Any) -> list[Any]:
    dice, parameters = wr.SummaryMetric("test/dice"), wr.Config("parameters")
    return [
        # A scatter plot cannot group runs: the points take the colours of the run set's groups.
        wr.ScatterPlot(
            title="Dice per case against parameters",
            x=parameters,
            y=dice,
            log_x=True,
            layout=wr.Layout(0, 0, 12, 10),
        ),
        wr.BarPlot(
            title="Dice per case by decoder",
            metrics=[dice],
            groupby=wr.Config("decoder"),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            layout=wr.Layout(12, 0, 12, 10),
        ),
    ]


def _curves(wr: Any) -> list[Any]:
    return [
        wr.LinePlot(
            title=name,
            x=STEP,
            y=[name],
            title_x="step",
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            layout=wr.Layout(8 * (i % 3), 8 * (i // 3), 8, 8),
        )
        for i, name in enumerate(CURVES)
    ]


def _run_panels(wr: Any) -> list[Any]:
    return [
        wr.RunComparer(diff_only=True, layout=wr.Layout(0, 0, 24, 10)),
        wr.ParameterImportancePlot(with_respect_to="test/dice", layout=wr.Layout(0, 10, 12, 10)),
        wr.MediaBrowser(
            title="Reference and prediction", media_keys=["test/overlays"], layout=wr.Layout(12, 10, 12, 10)
        ),
    ]


@contextmanager
def _server(entity: str, project: str) -> Iterator[Any]:
    """Yield the server's API; raise ``InputError`` within seconds if the server cannot be used."""
    import wandb

    # Go online even if WANDB_MODE keeps runs offline: the user asked for the server.
    brief = wandb.Settings(mode="online", silent=True, x_graphql_retry_max=1, x_graphql_timeout_seconds=7)
    server = wandb.setup(brief).settings.base_url
    try:
        if not wandb.login(prompt=False, verify=False):
            raise InputError(server, "an API key: wandb login, or WANDB_API_KEY", "none")
        api = wandb.Api()
    except wandb.Error as error:
        expected = "a W&B server that answers and knows this key (wandb login; WANDB_BASE_URL)"
        raise InputError(server, expected, _first_line(error)) from error
    try:
        yield api
    except InputError:
        raise
    except Exception as error:
        # Saving a report may raise exceptions of wandb_workspaces, which are no subclasses of wandb.Error.
        if not (isinstance(error, ValueError) or type(error).__module__.startswith("wandb.")):
            raise
        expected = f"a project with runs ({UPLOAD}) that this account may write to"
        raise InputError(f"{server}/{entity}/{project}", expected, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
