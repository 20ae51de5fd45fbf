"""Validate the configuration of a command as a typed dataclass of settings."""

import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Lt
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lits_seg.common.errors import InputError

Settings = TypeVar("Settings")

# A text in Annotated replaces the type in error messages: expected …
Place = Annotated[str, "one file or folder"]
Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "one text",
    list[str]: "a list of texts",
    types.NoneType: "null",
}


def read_settings(kind: type[Settings], plain: Mapping[str, Any]) -> Settings:
    """Validate a resolved configuration as a dataclass.

    Args:
        kind: the dataclass; annotations may limit numbers (``Count``) and list choices (``Literal``).
        plain: the configuration as dicts and lists. Keys without a field are ignored.

    Raises:
        InputError: if a value has another type or is out of range; names the key.
    """
    from pydantic import TypeAdapter, ValidationError  # imported late, to keep --help fast: takes a tenth of a second

    try:
        # Strict mode rejects 1 for true. It accepts a mapping for a dataclass only if the input is JSON.
        return TypeAdapter(kind).validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, InputError):  # raised by the dataclass itself
            raise cause from None
        kinds = dict(annotations(kind))
        place = [str(part) for part in problem["loc"]]
        key = next(key for end in range(len(place), 0, -1) if (key := ".".join(place[:end])) in kinds)
        found: Any = plain
        for name in key.split("."):
            found = found[name]
        raise InputError(key, in_words(kinds[key]), _as_typed(found)) from None


def annotations(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key of a dataclass with its annotation; the keys of nested dataclasses are joined by dots.

    Args:
        kind: the dataclass.
        prefix: prefix of all keys.
    """
    for name, annotation in typing.get_type_hints(kind, include_extras=True).items():
        if is_dataclass(annotation):
            yield from annotations(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", annotation


def in_words(annotation: Any) -> str:
    """Describe an annotation for an error message, such as "a whole number, at least 1, or null"."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        said = [limit for limit in parts[1:] if isinstance(limit, str)]
        limits = [f"at least {limit.ge}" for limit in parts[1:] if isinstance(limit, Ge)]
        limits += [f"less than {limit.lt}" for limit in parts[1:] if isinstance(limit, Lt)]
        return ", ".join(said or [in_words(parts[0]), *limits])
    if origin is Literal:
        return " or ".join(map(str, parts))
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(map(in_words, parts))
    return _WORDS[annotation]


def keep_texts(arguments: Sequence[str], kinds: Mapping[str, Any]) -> list[str]:
    """Return command-line arguments with quotes around texts that Hydra would read as another type.

    Without quotes, Hydra reads ``117``, ``2026_11_25`` and ``1e3`` as numbers and ``true`` as a boolean. ``null``
    stays null if the setting may be null. A single value for a list of texts becomes a list.

    Args:
        arguments: arguments as typed, such as ``input=117``.
        kinds: the annotation of each setting, by key.
    """
    return [_keep_text(argument, kinds) for argument in arguments]


def _keep_text(argument: str, kinds: Mapping[str, Any]) -> str:
    key, equals, value = argument.partition("=")
    kind = kinds.get(key.lstrip("+"))
    options = [kind, *(typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else ())]
    if not equals or (value == "null" and types.NoneType in options):
        return argument
    if list[str] in options and not value.startswith("["):
        return f"{key}=[{_quoted(value)}]"
    if any(option is str or typing.get_args(option)[:1] == (str,) for option in options):
        return f"{key}={_quoted(value)}"
    return argument


def _quoted(value: str) -> str:
    """Quote a value that Hydra would read as a number, a boolean or null; return any other value unchanged."""
    try:
        read = OverridesParser.create().parse_override(f"key={value}").value()
    except HydraException:
        return value  # Hydra will report the syntax error itself
    return f"'{value}'" if read is None or isinstance(read, (bool, int, float)) else value


def _as_typed(value: Any) -> Any:
    """Return a value as a user would type it on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else value
