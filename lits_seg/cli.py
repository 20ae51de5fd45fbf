"""What the entry points share: where ``conf/`` is, and how errors reach the user."""

import errno
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from lits_seg.common.dependencies import missing
from lits_seg.common.errors import InputError
from lits_seg.common.files import CONF
from lits_seg.runs.naming import decoder_name, job_name, run_dir, sweep_name

for resolver in (run_dir, sweep_name, job_name, decoder_name):
    OmegaConf.register_new_resolver(resolver.__name__, resolver, use_cache=resolver is run_dir, replace=True)
OmegaConf.register_new_resolver(
    "gpus", lambda kind, devices: devices if kind in ("gpu", "cuda") else None, replace=True
)

# Of Hydra's own choices, those that come with its plugins.
_PLUGINS = ("hydra/launcher/submitit", "hydra/launcher/joblib")


def entry(config_name: str, folder: Path = CONF) -> Callable[[Callable[[DictConfig], Any]], Callable[[], Any]]:
    """Makes ``task(cfg)`` a command with ``conf/<config_name>.yaml`` (or the same below ``folder``) as its defaults.

    Or ``conf/<config_name>/<config_name>.yaml``, for a command whose keys have the names of the other commands' groups.

    What the user can mend (a wrong file, group, key or value) is told in one message on stderr, exit status 1.
    Anything else is a fault of ours and keeps its traceback.
    """

    folder = folder / config_name if (folder / config_name).is_dir() else folder

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], Any]:
        @functools.wraps(task)
        def job(cfg: DictConfig) -> Any:
            try:
                return task(cfg)
            except Exception as error:
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise
                _exit(error)  # from within the job: Hydra would put a line of its own before the message

        def main() -> Any:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us instead of Hydra's own printing
            try:
                with _sigterm_is_an_exception():
                    return hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)(job)()
            except KeyboardInterrupt:
                print("stopped", file=sys.stderr)
                sys.exit(128 + signal.SIGINT)
            except Exception as error:
                _exit(error)

        return main

    return decorate


@contextmanager
def _sigterm_is_an_exception() -> Iterator[None]:
    """So that nothing unfinished stays behind."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(error: Exception) -> None:
    message = explain(error)
    if message is None:
        raise error
    sys.exit(f"error: {message}")


def explain(error: BaseException) -> str | None:
    """The message for the user where ``error``, or what caused it, is something that the user can mend."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, InputError):
            return str(cause)
        if (lacking := missing(cause)) is not None:
            return lacking
    for cause in chain:
        if isinstance(cause, MissingMandatoryValue):
            return f"{cause.full_key}: expected a value ({cause.full_key}=…); found none"
        if isinstance(cause, OmegaConfBaseException):
            return str(error).splitlines()[0] + _choices(cause)
        if isinstance(cause, (PermissionError, NotADirectoryError, FileExistsError)) and cause.filename:
            return f"{_place(cause)}: expected a place to write to; found: {cause.strerror}"
        if isinstance(cause, FileNotFoundError) and cause.filename and _while_making_it(cause):
            return f"{_place(cause)}: expected a place to write to; found: {cause.strerror}"
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            return f"{cause.filename or 'output'}: expected room to write; found: {cause.strerror}"
        if isinstance(cause, OverrideParseException):
            hint = "one with spaces, = or brackets in quotes of its own: 'input=\"my CT.nii\"'"
            return f"{cause.override}: expected key=value, {hint}; found {str(error).splitlines()[0]}"
        if isinstance(cause, MissingConfigException) and str(cause.missing_cfg_file).startswith(_PLUGINS):
            return f"{cause.missing_cfg_file}: expected Hydra's plugin (pip install 'lits_seg[sweep]'); found none"
    if _raised_within("submitit", error):  # no Slurm here, or it refuses or has killed a job
        return f"hydra/launcher: {error}"
    # By its name: importing Lightning takes seconds, and not every command needs it.
    if isinstance(error, HydraException) or type(error).__name__ == "MisconfigurationException":
        return str(error)
    return None


def _while_making_it(error: OSError) -> bool:
    making = ("mkdir", "makedirs", "mkdtemp", "write_text")
    return any(frame.name in making for frame in traceback.extract_tb(error.__traceback__))


def _raised_within(package: str, error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and package in Path(frames[-1].filename).parts


def _place(error: OSError) -> Path:
    """What the user named: not the temporary name in it."""
    path = Path(os.fsdecode(error.filename))
    return path.parent if path.name.startswith(".") else path


def require_paths(cfg: DictConfig, *names: str) -> None:
    """Raises ``InputError`` where a setting is a list or a mapping instead of one path."""
    for name in names:
        if OmegaConf.is_config(cfg[name]):
            raise InputError(name, "one file or folder", cfg[name])


def require_number(cfg: DictConfig, name: str, least: int = 1, or_null: bool = False) -> None:
    """Raises ``InputError`` where a setting is no whole number, at least ``least`` (nor null, where that may be)."""
    value = cfg[name]
    if value is None and or_null:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(name, f"a whole number, at least {least}{', or null' if or_null else ''}", value)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _choices(error: OmegaConfBaseException) -> str:
    parent = getattr(error, "parent_node", None)
    if not isinstance(error, (ConfigAttributeError, ConfigKeyError)) or not isinstance(parent, DictConfig):
        return ""
    keys = ", ".join(str(key) for key in parent if key not in ("_target_", "hydra"))
    return f"\n{error.full_key or 'the key'}: expected one of {keys}"
