"""``lits-seg phantom FOLDER``: write the synthetic data set."""

import argparse
import sys
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.common.settings import arguments, fits, misfit
from lits_seg.phantom.write import write_phantom


def main() -> None:
    """Read the arguments and write the volumes."""
    parser = argparse.ArgumentParser(
        prog="lits-seg phantom",
        description="Write synthetic abdominal CT volumes with liver lesions in LiTS layout. Research use only.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("root", type=Path, nargs="?", default=Path("data/phantom"), help="folder for the volumes")
    for name, default, text in (
        ("cases", 80, "number of patients"),
        ("seed", 0, "seed of all random numbers"),
        ("size", 192, "rows and columns of a slice"),
        ("slices", 40, "slices per volume"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    parser.add_argument("--workers", type=int, help="number of processes; None: one per core")
    try:
        given = vars(parser.parse_args())
        for name, kind in arguments(write_phantom).items():
            if name != "root" and not fits(kind, given[name]):
                raise misfit(f"--{name}", kind, given[name])
        write_phantom(**given)
        print(f"written to: {given['root'].absolute()}")
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
