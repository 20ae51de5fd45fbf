"""``lits-seg COMMAND …``: run a command, or list the commands."""

import runpy
import sys

from lits_seg import RESEARCH_USE, __version__

COMMANDS = {
    "train": ("lits_seg.train", "train a network on one fold, then test it on held-out patients"),
    "evaluate": ("lits_seg.evaluate", "score masks or a checkpoint against reference masks"),
    "predict": ("lits_seg.predict", "write a liver and lesion mask for each CT"),
    "prepare": ("lits_seg.prepare", "check CT volumes and write the slice store for training"),
    "calibrate": ("lits_seg.calibrate", "fit a checkpoint's rules and probabilities on its validation patients"),
    "report": ("lits_seg.report", "compare finished runs in tables and on a page"),
    "export": ("lits_seg.export", "write a checkpoint as files that run without PyTorch"),
    "dashboard": ("lits_seg.dashboard", "compare runs on a Weights & Biases server"),
    "phantom": ("lits_seg.phantom", "write synthetic CT volumes with liver lesions"),
}


def main() -> None:
    """Run the command named by the first argument, exactly as ``python -m`` runs its module."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("--help", "-h"):
        print(usage())
    elif command == "--version":
        print(f"lits-seg {__version__}")
    elif command in COMMANDS:
        del sys.argv[1]
        # To start the other ranks of a distributed training, Lightning reads the name of the module in __main__.
        runpy.run_module(COMMANDS[command][0], run_name="__main__", alter_sys=True)
    else:
        print(f"error: lits-seg: expected one of {', '.join(COMMANDS)}; found {command}", file=sys.stderr)
        sys.exit(2)


def usage() -> str:
    """Return the help text, with a line for each command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            f"lits-seg {__version__}: light-weight segmentation of liver lesions in CT. {RESEARCH_USE}",
            "",
            "Usage: lits-seg COMMAND [KEY=VALUE …]",
            "",
            *lines,
            "",
            "lits-seg COMMAND --help shows a command's settings and examples.",
        ]
    )


if __name__ == "__main__":
    main()
