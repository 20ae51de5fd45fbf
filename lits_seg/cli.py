"""Start and end every command: read the configuration, validate the settings, report errors to the user."""

import errno
import functools
import importlib
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from lits_seg.common.command_line import hint, keep_texts, require_no_options
from lits_seg.common.dependencies import install, missing
from lits_seg.common.errors import InputError
from lits_seg.common.files import CONF
from lits_seg.common.settings import annotations, nearest, read_settings
from lits_seg.runs.naming import decoder_name, job_name, run_dir, shared_by_jobs, sweep_name

for resolver in (run_dir, sweep_name, shared_by_jobs, job_name, decoder_name):
    cached = resolver in (run_dir, shared_by_jobs)
    OmegaConf.register_new_resolver(resolver.__name__, resolver, use_cache=cached, replace=True)
OmegaConf.register_new_resolver(
    "gpus", lambda kind, devices: devices if kind in ("gpu", "cuda") else None, replace=True
)
OmegaConf.register_new_resolver("conf", lambda: str(CONF), replace=True)
OmegaConf.register_new_resolver("groups", lambda: _groups(), replace=True)

# Errors about a path, except those about a path that does not exist; and functions that write a path.
_NAMES = ("EACCES", "EPERM", "EROFS", "ENOTDIR", "EISDIR", "EEXIST", "ENAMETOOLONG", "ELOOP")
_UNUSABLE = {getattr(errno, name) for name in _NAMES}
_WRITERS = {"mkdir", "makedirs", "mkdtemp", "rename", "replace", "unlink", "rmdir", "rmtree", "touch", "write_text"}

INTERNAL = ("hydra", "module", "output_dir")  # keys that the configuration fills itself
# Choices that need a Hydra plugin.
_PLUGINS = ("hydra/launcher/submitit", "hydra/launcher/joblib")
_MERGED = re.compile("Error merging override (.*)")


def entry(
    config: str, settings: type | None = None, folder: Path = CONF, texts: Mapping[str, Any] | None = None
) -> Callable[[Callable[[Any], Any]], Callable[[], Any]]:
    """Return a decorator that turns a function of the configuration into a command.

    If the user can correct an error, such as a wrong file or key, the command prints a single message on stderr and
    exits with status 1. Any other error is a bug of this package and keeps its traceback.

    Args:
        config: file with the defaults, relative to ``folder`` and without ``.yaml``. Groups are in the same folder.
        settings: dataclass that the function receives; None: the function receives Hydra's ``DictConfig``.
        folder: folder of the configuration.
        texts: annotations of further settings, by key: those that are texts stay as typed.
    """
    path = folder / config
    groups = {group.name: str | list[str] for group in CONF.iterdir() if group.is_dir()}
    kinds = {**groups, **(texts or {}), **dict(annotations(settings) if settings else ())}

    def decorate(task: Callable[[Any], Any]) -> Callable[[], Any]:
        @functools.wraps(task)
        def job(cfg: DictConfig) -> Any:
            # Inside Hydra's main, which would print a line before the message. A sweep handles its jobs' errors itself.
            with nullcontext() if HydraConfig.get().mode == RunMode.MULTIRUN else errors_for_users():
                return task(cfg if settings is None else read_settings(settings, _plain(cfg)))

        @functools.wraps(task)
        def main() -> Any:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise exceptions instead of printing them
            with errors_for_users():
                require_no_options(sys.argv[1:], kinds)
            sys.argv[1:] = keep_texts(sys.argv[1:], kinds)
            if isinstance(sys.stdout, io.TextIOWrapper):  # file names may not be UTF-8, the terminal may be ASCII
                sys.stdout.reconfigure(errors="backslashreplace")
            with errors_for_users(), _signals():
                return hydra.main(version_base="1.3", config_path=str(path.parent), config_name=path.name)(job)()

        return main

    return decorate


def start(command: str) -> NoReturn:
    """Import and run a command, for a module that is run as ``__main__``.

    Call this function before the module's other imports, so that a missing package is also reported as a message.
    """
    with errors_for_users():
        main = importlib.import_module(f"lits_seg.{command}").main
    main()
    sys.exit()


@contextmanager
def errors_for_users() -> Iterator[None]:
    """Print errors that the user can correct as a single message and exit with status 1; re-raise all others."""
    try:
        yield
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        sys.exit(f"error: {message}")


@contextmanager
def _signals() -> Iterator[None]:
    """On Ctrl-C and SIGTERM, clean up unfinished files and exit with the status that shells expect (128 + signal)."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


def as_input_error(where: object, error: Exception) -> InputError:
    """Return the error of one part of the input as a message, so that a command can continue with the other parts.

    The environment variable ``LITS_SEG_DEBUG`` shows the traceback of an unexpected error, which may be a bug.

    Args:
        where: the part, such as a file.
        error: any error.
    """
    if isinstance(error, InputError):
        return error
    if os.environ.get("LITS_SEG_DEBUG"):
        traceback.print_exception(error)
    reason = " ".join((explain(error) or f"{type(error).__name__}: {error}").split())
    return InputError(where, "an input without errors (LITS_SEG_DEBUG=1 shows a traceback)", reason)


def explain(error: BaseException) -> str | None:
    """Return a message if the user can correct the error or one of its causes; otherwise None."""
    chain = list(_causes(error))
    for message_for in (_wrong_input, _wrong_setting, _no_place_to_write):
        for cause in chain:
            if (message := message_for(cause)) is not None:
                return message
    if _raised_within("submitit", error):  # Slurm is missing, or rejected or ended a job
        return f"hydra/launcher: {error}"
    # Compared by name: importing Lightning takes seconds, and not every command needs Lightning.
    if isinstance(error, HydraException) or type(error).__name__ == "MisconfigurationException":
        return str(error).partition("\n\nConfig search path")[0]
    return None


def _wrong_input(error: BaseException) -> str | None:
    return str(error) if isinstance(error, InputError) else missing(error)


def _wrong_setting(error: BaseException) -> str | None:
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: expected a value ({error.full_key}=…); found none"
    if isinstance(error, ConfigCompositionException) and (value := _MERGED.match(str(error))):
        reason = str(error.__cause__ or error).splitlines()[0]
        return f"{value[1]}: expected a value of the kind that the configuration has; found another ({reason})"
    if isinstance(error, OmegaConfBaseException):
        return _unknown_key(error) or str(error).splitlines()[0]
    if isinstance(error, OverrideParseException):
        found = str(error).splitlines()[0] if "=" in str(error.override) else "no ="
        return f"{error.override}: expected {hint(error.override)}; found {found}"
    if isinstance(error, MissingConfigException):
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        if str(error.missing_cfg_file).startswith(_PLUGINS):
            return f"{error.missing_cfg_file}: expected Hydra's plugin ({install('sweep')}); found none"
        if error.options:
            return f"{group}: expected one of {nearest(choice, error.options)}; found {error.missing_cfg_file}"
    if isinstance(error, (TypeError, ValueError)) and _raised_within("hydra", error):
        return f"the command line: expected key=value; found an error of Hydra ({error})"
    return None


def _unknown_key(error: OmegaConfBaseException) -> str | None:
    parent = getattr(error, "parent_node", None)
    if not isinstance(error, (ConfigAttributeError, ConfigKeyError)) or not isinstance(parent, DictConfig):
        return None
    keys = [str(key) for key in parent if key not in INTERNAL and not str(key).startswith("_")]
    return f"{error.full_key or 'the key'}: expected one of {nearest(str(error.key), keys)}; found an unknown key"


def _no_place_to_write(error: BaseException) -> str | None:
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return f"{error.filename or 'output'}: expected free space to write; found: {error.strerror}"
    writing = _while_writing(error)
    if error.filename and (error.errno in _UNUSABLE or (error.errno == errno.ENOENT and writing)):
        path = Path(os.fsdecode(error.filename))
        # The name of a temporary file would mean nothing to the user.
        named = path.parent if writing and path.name.startswith(".") else path
        expected = "a place to write to" if writing else "a readable file"
        return f"{named}: expected {expected}; found: {error.strerror}"
    return None


def _while_writing(error: OSError) -> bool:
    """Return whether an output failed, by the functions that raised the error and the mode of opening."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-4:]
    if any(frame.f_code.co_name in _WRITERS for frame in frames):
        return True
    modes = [mode for frame in frames if isinstance(mode := frame.f_locals.get("mode"), str)]
    if modes or error.errno == errno.ENOENT or error.filename is None:
        return bool(set("wax+") & set("".join(modes)))
    # The file was opened without pathlib, for example by NumPy.
    exists, readable = os.path.exists(error.filename), os.access(error.filename, os.R_OK)
    return not exists or (readable and not os.access(error.filename, os.W_OK))


def _raised_within(package: str, error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and package in Path(frames[-1].filename).parts


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an error that is raised from its own effect makes a circle
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _groups() -> str:
    """Return the groups of ``train`` with their choices, a line for each."""
    choices = {group.name: sorted(path.stem for path in group.glob("*.yaml")) for group in sorted(CONF.iterdir())}
    return "\n".join(f"{name}: {', '.join(names)}" for name, names in choices.items() if names and name != "commands")


def _plain(cfg: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
