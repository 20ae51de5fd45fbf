"""Keep texts of the command line as they were typed, although Hydra has a grammar of its own for values."""

import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from lits_seg.common.errors import InputError

KEY_VALUE = "key=value, such as input=CT.nii.gz of lits-seg predict (--help lists the keys)"
# A comma that separates values: the number of quotes after it is even.
_COMMA = re.compile(r""",(?=(?:[^'"]*['"][^'"]*['"])*[^'"]*$)""")
# Hydra's functions, most of which describe the values of a sweep.
_CALL = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag|extend_list|int|float|str|bool|json_str)\(.*\)")


def keep_texts(arguments: Sequence[str], kinds: Mapping[str, Any]) -> list[str]:
    """Return command-line arguments with quotes around texts that Hydra would read in another way.

    Without quotes, Hydra reads ``117``, ``2026_11_25`` and ``1e3`` as numbers and ``true`` as a boolean, and rejects
    spaces with brackets, quotes, ``=``, ``#``, ``&`` and letters such as ``ü``. ``null`` stays null if the setting may
    be null. A single value for a list of texts becomes a list. Commas separate values only in a sweep (``-m``).

    Args:
        arguments: arguments as typed, such as ``input=117``.
        kinds: the annotation of each setting, by key.
    """
    sweep = any(argument in ("-m", "--multirun") for argument in arguments)
    return [_keep_text(argument, kinds, sweep) for argument in arguments]


def _keep_text(argument: str, kinds: Mapping[str, Any], sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    options = _options(kinds.get(key.lstrip("+")))
    if not equals or not options or any(option not in (str, list[str], types.NoneType) for option in options):
        return argument
    null = types.NoneType in options
    if list[str] in options and value.startswith("[") and value.endswith("]"):
        return argument if sweep else f"{key}=[{_values(value[1:-1])}]"
    if str in options:
        return f"{key}={_values(value, null) if sweep else _quoted(value, null)}"
    return argument if sweep or (null and value == "null") else f"{key}=[{_quoted(value)}]"


def _options(kind: Any) -> list[Any]:
    """Return the types of an annotation. Paths and choices among texts count as ``str``."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _options(parts[0])
    if origin in (typing.Union, types.UnionType):
        return [option for part in parts for option in _options(part)]
    if kind is Path or (origin is Literal and all(isinstance(part, str) for part in parts)):
        return [str]
    return [] if kind is None else [kind]


def _values(value: str, null: bool = False) -> str:
    """Quote each of several values that are separated by commas."""
    if _CALL.fullmatch(value):
        return value
    return ",".join(_quoted(part.strip(), null) for part in _COMMA.split(value))


def _quoted(value: str, null: bool = False) -> str:
    """Quote a value that Hydra would not read as the same text; return any other value unchanged.

    Args:
        value: the value as typed.
        null: whether ``null`` is no text.
    """
    quoted = QuotedString(value, Quote.single).with_quotes()
    try:
        parsed = OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return quoted
    read = None if parsed.is_sweep_override() else parsed.value()
    if read is None:
        return value if null and value == "null" else quoted
    # The user's own quotes, escapes, interpolations and lists stay. A list for a text is reported later.
    own = isinstance(read, str) and (value[:1] in "'\"" or "\\" in value or "${" in value)
    kept = own or read == value or isinstance(read, (list, dict))
    return value if kept and not value.endswith("\\") else quoted


def require_no_options(arguments: Sequence[str], kinds: Mapping[str, Any]) -> None:
    """Require that settings are not typed as options.

    Args:
        arguments: arguments as typed, such as ``input=117``.
        kinds: settings by key.

    Raises:
        InputError: if an argument is ``--KEY``, with or without a value.
    """
    for argument in arguments:
        if argument.startswith("--") and argument[2:].partition("=")[0] in kinds:
            raise InputError(argument, KEY_VALUE, "an option")


def hint(override: Override | str | None) -> str:
    """Return how to type an argument without ``=``, or how to quote a value that Hydra cannot read."""
    if "=" not in str(override):
        return KEY_VALUE
    key = str(override).partition("=")[0] or "key"
    return f"key=value; a value with special characters needs quotes for Hydra within those of the shell: '{key}=\"…\"'"
