"""Run the project's commands as a user does: in a process of their own, in a terminal, or, faster, in this process."""

import contextlib
import importlib
import io
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest

# Tiny volumes and a narrow network: a run takes seconds.
SMOKE = (
    "data=smoke",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "data.batch_size=4",
    "model.encoder_widths=[8,8,16,16]",
    "model.innermost_width=32",
    "model.decoder_widths=[16,16,8,8]",
)
# Tests run side by side: more threads than cores would only wait for each other.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}

# A console script is a file that imports the function and calls it: no module is __main__.
SCRIPT = "import sys; from lits_seg.__main__ import main; sys.argv[0] = 'lits-seg'; sys.exit(main())"
DOORS = {"module": ("-m", "lits_seg"), "script": ("-c", SCRIPT)}


def run_lits_seg(*arguments: str, door: str = "module", cwd: Path | None = None) -> tuple[int, str, str]:
    """Runs ``lits-seg``, as a module or as the console script: exit status, stdout and stderr."""
    command = [sys.executable, *DOORS[door], *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


def start_command(
    command: str, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Starts ``python -m lits_seg.<command> <arguments>`` in a folder, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", f"lits_seg.{command}", *arguments],
        cwd=cwd,
        env=ENVIRONMENT if env is None else env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_ctrl_c_ends,
    )


def _ctrl_c_ends() -> None:
    # Tests that a shell runs in the background inherit that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_process(command: str, *arguments: str, cwd: Path) -> str:
    """Runs a command to its end, which must be a good one; what it printed on stdout."""
    process = start_command(command, *arguments, cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, f"{arguments}\n{out[-3000:]}\n{err[-6000:]}"
    return out


def run_in_terminal(command: str, *arguments: str, cwd: Path, columns: int = 120) -> str:
    """Run a command to its end in a terminal; return all that the terminal was sent."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    process = subprocess.Popen(
        [sys.executable, "-m", f"lits_seg.{command}", *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end, once nobody has the terminal open
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown.decode()[-6000:]
    return shown.decode()


def run_command(command: str, *arguments: str, cwd: Path, package: str = "lits_seg") -> str:
    """The same within this process."""
    out = io.StringIO()
    main = importlib.import_module(f"{package}.{command}").main
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", [f"{package}.{command}", *arguments]),
        contextlib.redirect_stdout(out),
    ):
        try:
            main()
        except SystemExit as ended:
            if ended.code:  # otherwise a good end, as of --help
                raise
    return out.getvalue()


def failed_command(command: str, *arguments: str, cwd: Path, package: str = "lits_seg") -> str:
    """Runs a command that must end with an error for the user; its message."""
    with pytest.raises(SystemExit) as ended:
        run_command(command, *arguments, cwd=cwd, package=package)
    # sys.exit with a text prints it on stderr and ends with status 1.
    assert isinstance(ended.value.code, str), f"ended with {ended.value.code}"
    return ended.value.code
