"""A real Slurm of one node, in a folder: its munge, controller and node daemon live as long as a test.

``python tests/helpers/slurm.py COMMAND …`` runs a command in one, as root.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol", "setpriv")

# No cgroups, no accounting, jobs of several processes at once on any machine. A job that is requeued waits until its
# old credential has expired (two minutes by default).
CONF = """
ClusterName=one_node
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def require_slurm() -> None:
    """Skips the test, with the reason, where a Slurm cannot be started."""
    if sys.platform != "linux":
        pytest.skip("Slurm's daemons need Linux")
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons start jobs as root only")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian's slurm-wlm and munge)")


@contextlib.contextmanager
def one_node_slurm(folder: Path) -> Iterator[None]:
    """Starts a Slurm in an empty folder and stops it, with all that runs in it, at the end.

    Within, ``SLURM_CONF`` leads its programs (and those that a child process starts) to it. Nothing outside the
    folder is touched; a munge or a Slurm that the machine has goes on beside it.
    """
    require_slurm()
    folder = folder.absolute()
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key, conf, munge = folder / "munge.key", folder / "slurm.conf", folder / "munge.socket"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    conf.write_text(CONF.format(host=_host(), ports=_free_ports(2), folder=folder, memory=memory))
    with mock.patch.dict(os.environ, SLURM_CONF=str(conf)), contextlib.ExitStack() as daemons:
        daemons.callback(_kill_all_within, str(conf))
        # --force: the folder's parents may be closed to others, or open to all.
        munged = ["munged", "--foreground", "--force", f"--socket={munge}", f"--key-file={key}"]
        munged += [f"--{kind}-file={folder}/munged.{kind}" for kind in ("pid", "seed")]
        daemons.enter_context(_daemon(munged, folder))
        _wait_for(munge.exists, folder)
        daemons.enter_context(_daemon(["slurmctld", "-D"], folder))
        daemons.enter_context(_daemon(["slurmd", "-D"], folder))
        _wait_for(lambda: _shown("sinfo", "--noheader", "--format=%t").strip() == "idle", folder)
        yield


@contextlib.contextmanager
def _daemon(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("w") as log:
        # setpriv: it ends with this process, even where that is killed.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", *command], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _kill_all_within(conf: str) -> None:
    """Kills what was started with this ``SLURM_CONF``: jobs, and the daemons' own processes that look after them."""
    mark = f"SLURM_CONF={conf}".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        number = int(environment.parent.name)
        with contextlib.suppress(OSError):  # it ended meanwhile
            if number != os.getpid() and mark in environment.read_bytes().split(b"\0"):
                os.kill(number, signal.SIGKILL)


def _wait_for(condition: Callable[[], bool], folder: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in sorted(folder.glob("*.log")))
            raise TimeoutError(f"Slurm does not start\n{logs}")
        time.sleep(0.1)


def _shown(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, one_node_slurm(Path(place)):
        sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
