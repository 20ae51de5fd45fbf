"""List the networks of each group of trainings, in the order of the tables."""

from dataclasses import dataclass

from experiments.shared.named_runs import TITLES, Key
from experiments.shared.networks import DECODERS, SHORT
from experiments.shared.trainings import FOLDS

PAPER = "dsc_unet"  # the paper's network, with its own decoder
UNET = "unet"  # the network that all others are compared with
TANDEM = "vorontsov"
PACKAGED = "strided_unet/context5"
NETWORKS = (
    PACKAGED,
    "strided_unet",
    "smp_mobilenet",
    TANDEM,
    PAPER,
    "dsc_unet/bilinear",
    "dsc_unet/deconv",
    "basic_unet",
    "segresnet",
    "nnunet_2d",
    "unet_bn",
    UNET,
)
OF_DECODERS = tuple(SHORT.get(name, name) for name in (f"dsc_unet/{decoder}" for decoder in DECODERS))
AGAIN = (PAPER, PACKAGED)  # trained with another seed, too
SEED = 1


@dataclass(frozen=True)
class Row:
    """A network that is trained with a seed.

    Args:
        network: a key of ``train_speed.measure.NETWORKS``.
        seed: seed of the training.
        own: whether loss and optimizer are those of its authors, see ``shared.trainings.OWN``.
    """

    network: str
    seed: int = 0
    own: bool = False

    @property
    def name(self) -> str:
        """Name of the network with its recipe."""
        return self.network + "-own" * self.own

    @property
    def system(self) -> str:
        """The row's part of a run's name: network, recipe and seed."""
        return self.name.replace("/", "-") + (f"-s{self.seed}" if self.seed else "")

    @property
    def title(self) -> str:
        """The row's name in tables."""
        return f"`{self.name}`" + (f", seed {self.seed}" if self.seed else "")


@dataclass(frozen=True)
class Group:
    """Trainings with the same budget on the same patients.

    Args:
        regime: budget, as in the names of runs.
        data: patients, as in the names of runs.
        rows: the networks.
        base: the network that the others are compared with.
        folds: number of folds that are trained, from the first.
    """

    regime: str
    data: str
    rows: tuple[Row, ...]
    base: str = UNET
    folds: int = FOLDS

    @property
    def title(self) -> str:
        """The group's name in tables and figures."""
        return f"{TITLES[self.regime]}, {TITLES[self.data]}".capitalize()

    def key(self, row: Row) -> Key:
        """Return regime, data and system of a row, as its runs are named."""
        return self.regime, self.data, row.system


OWN_TANDEM = Row(TANDEM, own=True)
ONCE = (*map(Row, NETWORKS), OWN_TANDEM)
GROUPS = (
    Group("steps", "lits", (*ONCE, *(Row(name, SEED) for name in AGAIN))),
    Group("minutes", "lits", ONCE),
    Group("minutes", "phantom", ONCE, folds=1),
    Group("decoders", "lits", tuple(map(Row, OF_DECODERS)), base=PAPER),
)
PLANNED = {group.key(row): row for group in GROUPS for row in group.rows}
