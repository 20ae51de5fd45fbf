"""How every command starts and ends: its configuration, its settings, and how errors reach the user."""

import errno
import functools
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from lits_seg.common.dependencies import missing
from lits_seg.common.errors import InputError
from lits_seg.common.files import CONF
from lits_seg.common.settings import annotations, keep_texts, read_settings
from lits_seg.runs.naming import decoder_name, job_name, run_dir, sweep_name

for resolver in (run_dir, sweep_name, job_name, decoder_name):
    OmegaConf.register_new_resolver(resolver.__name__, resolver, use_cache=resolver is run_dir, replace=True)
OmegaConf.register_new_resolver(
    "gpus", lambda kind, devices: devices if kind in ("gpu", "cuda") else None, replace=True
)
OmegaConf.register_new_resolver("conf", lambda: str(CONF), replace=True)

# Texts among the settings of train and of conf/data, which have no dataclass.
TEXTS = {
    **dict.fromkeys(("name", "runs", "store", "data.root", "data.store"), str),
    **dict.fromkeys(("sweep", "ckpt_path", "data.test_root"), str | None),
}

# Groups of Hydra's own that a plugin fills.
_PLUGINS = ("hydra/launcher/submitit", "hydra/launcher/joblib")


def entry(
    config: str, settings: type | None = None, folder: Path = CONF
) -> Callable[[Callable[[Any], Any]], Callable[[], Any]]:
    """Make a function of the configuration a command.

    The command prints an error that the user can correct (a wrong file, group, key or value) as one message on stderr
    and exits with status 1. Any other error is a fault of this package and keeps its traceback.

    Args:
        config: the file below ``folder`` that holds the defaults, without ``.yaml``. Its folder holds the groups.
        settings: the dataclass that the function gets; None: the function gets Hydra's own ``DictConfig``.
        folder: of the configuration.
    """
    path = folder / config
    kinds = {**TEXTS, **dict(annotations(settings) if settings else ())}

    def decorate(task: Callable[[Any], Any]) -> Callable[[], Any]:
        @functools.wraps(task)
        def job(cfg: DictConfig) -> Any:
            # In here, since Hydra would print a line of its own before the message. A sweep collects errors itself.
            with nullcontext() if HydraConfig.get().mode == RunMode.MULTIRUN else errors_for_users():
                return task(cfg if settings is None else read_settings(settings, _plain(cfg)))

        @functools.wraps(task)
        def main() -> Any:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises exceptions instead of printing them
            sys.argv[1:] = keep_texts(sys.argv[1:], kinds)
            with errors_for_users(), _signals():
                return hydra.main(version_base="1.3", config_path=str(path.parent), config_name=path.name)(job)()

        return main

    return decorate


def start(command: str) -> NoReturn:
    """Import and run a command, for a module that is run as ``__main__``.

    Call this before the module's own imports: one of them may lack its package, which is then one message, too.
    """
    with errors_for_users():
        main = importlib.import_module(f"lits_seg.{command}").main
    main()
    sys.exit()


@contextmanager
def errors_for_users() -> Iterator[None]:
    """Print an error that the user can correct as one message and exit with status 1; let any other pass."""
    try:
        yield
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        sys.exit(f"error: {message}")


@contextmanager
def _signals() -> Iterator[None]:
    """End on Ctrl-C and SIGTERM with the shell's exit status, after all that is unfinished has been removed."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


def explain(error: BaseException) -> str | None:
    """Return the message for the user if the user can correct the error or its cause; else None."""
    chain = list(_causes(error))
    for explained in (_said_by_us, _wrong_setting, _no_place_to_write):
        for cause in chain:
            if (message := explained(cause)) is not None:
                return message
    if _raised_within("submitit", error):  # without Slurm, or if Slurm refuses or ends a job
        return f"hydra/launcher: {error}"
    # By its name: importing Lightning takes seconds, and not every command needs Lightning.
    if isinstance(error, HydraException) or type(error).__name__ == "MisconfigurationException":
        return str(error)
    return None


def _said_by_us(error: BaseException) -> str | None:
    return str(error) if isinstance(error, InputError) else missing(error)


def _wrong_setting(error: BaseException) -> str | None:
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: expected a value ({error.full_key}=…); found none"
    if isinstance(error, OmegaConfBaseException):
        return str(error).splitlines()[0] + _choices(error)
    if isinstance(error, OverrideParseException):
        hint = "a value with spaces, = or brackets in quotes of its own: 'input=\"my CT.nii\"'"
        return f"{error.override}: expected key=value, {hint}; found {str(error).splitlines()[0]}"
    if isinstance(error, MissingConfigException) and str(error.missing_cfg_file).startswith(_PLUGINS):
        return f"{error.missing_cfg_file}: expected Hydra's plugin (pip install 'lits_seg[sweep]'); found none"
    return None


def _choices(error: OmegaConfBaseException) -> str:
    parent = getattr(error, "parent_node", None)
    if not isinstance(error, (ConfigAttributeError, ConfigKeyError)) or not isinstance(parent, DictConfig):
        return ""
    keys = ", ".join(str(key) for key in parent if key not in ("_target_", "hydra"))
    return f"\n{error.full_key or 'the key'}: expected one of {keys}"


def _no_place_to_write(error: BaseException) -> str | None:
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return f"{error.filename or 'output'}: expected room to write; found: {error.strerror}"
    unwritable = isinstance(error, (PermissionError, NotADirectoryError, FileExistsError))
    if error.filename and (unwritable or (isinstance(error, FileNotFoundError) and _while_making_it(error))):
        path = Path(os.fsdecode(error.filename))
        named = path.parent if path.name.startswith(".") else path  # a temporary name is none of the user's
        return f"{named}: expected a place to write to; found: {error.strerror}"
    return None


def _while_making_it(error: FileNotFoundError) -> bool:
    """Return whether a new file or folder was not found, as below /proc; a missing input is an ``InputError``."""
    makers = ("mkdir", "makedirs", "mkdtemp", "write_text")
    return any(frame.name in makers for frame in traceback.extract_tb(error.__traceback__))


def _raised_within(package: str, error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and package in Path(frames[-1].filename).parts


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _plain(cfg: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
