"""``lits-seg phantom FOLDER``: write the synthetic data set."""

import argparse
import sys
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.phantom.write import write_phantom


def main() -> None:
    """Read the arguments and write the volumes."""
    parser = argparse.ArgumentParser(
        prog="lits-seg phantom",
        description="Write synthetic abdominal CT volumes with liver lesions in LiTS layout. Research use only.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("root", type=Path, nargs="?", default=Path("data/phantom"), help="folder")
    for name, default in (("cases", 80), ("seed", 0), ("size", 192), ("slices", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--workers", type=int, help="processes; one per core unless given")
    try:
        write_phantom(**vars(parser.parse_args()))
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
