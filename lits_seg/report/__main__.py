"""``python -m lits_seg.report``."""

from lits_seg.report.command import main

if __name__ == "__main__":
    main()
