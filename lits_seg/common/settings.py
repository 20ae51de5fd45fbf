"""Validate the configuration of a command as a typed dataclass of settings."""

import difflib
import functools
import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, Len, Lt, MinLen

from lits_seg.common.errors import InputError

Settings = TypeVar("Settings")

# A text in Annotated replaces the type in error messages: expected …
Place = Annotated[str, MinLen(1), "one file or folder"]
Count = Annotated[int, Ge(1), Le(1_000_000)]
CountOrZero = Annotated[int, Ge(0), Le(1_000_000)]
Size = Annotated[int, Ge(16), Le(2048)]  # side of the network's images in pixels; larger ones would take gigabytes
BatchSize = Annotated[int, Ge(1), Le(4096)]
Workers = Annotated[int, Ge(0), Le(256)]
Threads = Annotated[int, Ge(1), Le(1024)]
Rounds = Annotated[int, Ge(1), Le(10_000)]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Share = Annotated[float, Ge(0), Lt(1)]
Probability = Annotated[float, Ge(0), Le(1)]
Width = Annotated[int, Ge(1), Le(4096)]  # channels of a layer
Widths = Annotated[Sequence[Width], Len(1, 8)]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
# Lightning's precision, as far as the weights have 32 bits: images have 32 bits, too.
Precision = Literal["auto", "16-mixed", "bf16-mixed", "32-true", 16, 32]

_WORDS: dict[Any, str] = {
    Any: "any value",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "one text",
    Path: "one file or folder",
    list[str]: "a list of texts",
    types.NoneType: "null",
}
_LIMITS: dict[type, tuple[str, str]] = {
    Ge: ("ge", "at least"),
    Gt: ("gt", "greater than"),
    Le: ("le", "at most"),
    Lt: ("lt", "less than"),
}


def read_settings(kind: type[Settings], plain: Mapping[str, Any]) -> Settings:
    """Validate a resolved configuration as a dataclass.

    Args:
        kind: the dataclass; annotations may limit numbers (``Count``) and list choices (``Literal``).
        plain: the configuration as dicts and lists. The key ``hydra`` is ignored.

    Raises:
        InputError: if a key is unknown, or a value has another type or is out of range; names the key.
    """
    from pydantic import ValidationError  # imported late, to keep --help fast: takes a tenth of a second

    require_json(plain)
    _require_known("", plain, dict(annotations(kind)))
    try:
        # Strict mode rejects 1 for true. It accepts a mapping for a dataclass only if the input is JSON.
        return _adapter(typing.cast(Any, kind)).validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, InputError):  # raised by the dataclass itself
            raise cause from None
        kinds = dict(annotations(kind))
        place = [str(part) for part in problem["loc"]]
        named = [".".join(place[:end]) for end in range(len(place), 0, -1)]
        key = next((key for key in named if key in kinds), None)
        if key is None:  # a number or text instead of a group such as rules
            raise InputError(".".join(place), "a mapping", as_typed(plain.get(place[0]))) from None
        found: Any = plain
        for name in key.split("."):
            found = found.get(name)
        raise misfit(key, kinds[key], found) from None


def _require_known(prefix: str, plain: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Require that each key is a field; ``prefix`` is the key of the mapping, with a dot."""
    known = dict.fromkeys(kind[len(prefix) :].split(".")[0] for kind in kinds if kind.startswith(prefix))
    for name, value in plain.items():
        if name not in known and f"{prefix}{name}" != "hydra":
            raise InputError(f"{prefix}{name}", f"one of {nearest(str(name), known)}", "an unknown key")
        if isinstance(value, Mapping) and any(kind.startswith(f"{prefix}{name}.") for kind in kinds):
            _require_known(f"{prefix}{name}.", value, kinds)


def nearest(name: str, known: Collection[str]) -> str:
    """Return the known names for an error message, with the most similar one."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return ", ".join(known) + (f" (did you mean {close[0]}?)" if close else "")


def require_json(value: Any, key: str = "") -> None:
    """Require finite numbers, and texts in UTF-8.

    Args:
        value: a value, or containers of values.
        key: the key of the value in error messages.

    Raises:
        InputError: if a number is infinite or NaN, or a text cannot be encoded; names the key.
    """
    if isinstance(value, Mapping):
        for name, part in value.items():
            require_json(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for part in value:
            require_json(part, key)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(key, "a finite number", value)
    elif isinstance(value, str) and not value.isprintable() and value != value.encode(errors="ignore").decode():
        raise InputError(key, "a text in UTF-8", ascii(value))


def fits(annotation: Any, value: Any) -> bool:
    """Return whether a value is of the annotated type and within its limits."""
    from pydantic import ValidationError

    try:
        read = _adapter(annotation).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):  # TypeError: an object that JSON does not have
        return False
    return isinstance(read, bool) == isinstance(value, bool)  # pydantic accepts true for Literal[1]


def require_fits(prefix: str, kinds: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Require that settings fit their annotations.

    Args:
        prefix: prefix of all keys in error messages.
        kinds: annotations by name.
        values: values by name.

    Raises:
        InputError: if a value does not fit; names the key.
    """
    for name, kind in kinds.items():
        if not fits(kind, values[name]):
            raise misfit(f"{prefix}{name}", kind, values[name])


@functools.cache
def _adapter(annotation: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def annotations(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key of a dataclass with its annotation; the keys of nested dataclasses are joined by dots.

    Args:
        kind: the dataclass.
        prefix: prefix of all keys.
    """
    for name, annotation in typing.get_type_hints(kind, include_extras=True).items():
        if is_dataclass(annotation):
            yield from annotations(annotation, f"{prefix}{name}.")
            continue
        yield f"{prefix}{name}", annotation
        for part in typing.get_args(annotation):
            if isinstance(part, type) and is_dataclass(part):  # a group that may be null
                yield from annotations(part, f"{prefix}{name}.")


def arguments(function: Callable, prefix: str = "") -> dict[str, Any]:
    """Return the annotation of each argument of a class or function.

    Args:
        function: the class or function.
        prefix: prefix of all names.
    """
    return {f"{prefix}{name}": one.annotation for name, one in inspect.signature(function).parameters.items()}


def misfit(key: str, annotation: Any, found: Any) -> InputError:
    """Return the error about a value, with a hint if a text was read as another type.

    Args:
        key: the key of the setting.
        annotation: the annotation of the setting.
        found: the value that does not fit.
    """
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated)
    text = annotation is str or (union and str in typing.get_args(annotation))
    hinted = text and isinstance(found, (bool, int, float, list, dict))
    hint = " (a text like this needs inner quotes: '…=\"…\"')" if hinted else ""
    return InputError(key, in_words(annotation, found), f"{as_typed(found)}{hint}")


def in_words(annotation: Any, found: Any = None) -> str:
    """Describe an annotation for an error message, such as "a whole number, at least 1, or null".

    Args:
        annotation: the annotation of a setting.
        found: the value that does not fit. Large upper limits guard against slips only, and are named if exceeded.
    """
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Annotated:
        said = [limit for limit in parts[1:] if isinstance(limit, str)]
        limits = [
            f"{words} {getattr(limit, name)}"
            for limit in parts[1:]
            for kind, (name, words) in _LIMITS.items()
            if isinstance(limit, kind) and not (isinstance(limit, Le) and _only_guards(limit, found))
        ]
        lengths = [_length(limit) for limit in parts[1:] if isinstance(limit, (Len, MinLen))]
        return ", ".join(said or [in_words(parts[0], found), *limits, *lengths])
    if origin is Literal:
        names = [str(as_typed(part)) for part in parts]
        return " or ".join(names) if len(names) < 3 else f"one of {', '.join(names)}"
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(dict.fromkeys(in_words(part, found) for part in parts))
    if is_dataclass(annotation) or (
        isinstance(origin or annotation, type) and issubclass(origin or annotation, Mapping)
    ):
        return "a mapping"
    if origin is tuple and ... not in parts:
        same = len(set(parts)) == 1
        return f"a list of {len(parts)} (each {in_words(parts[0])})" if same else f"a list of {len(parts)}"
    if isinstance(origin or annotation, type) and issubclass(origin or annotation, Sequence):
        return f"a list (each {in_words(parts[0])})" if parts else "a list"
    return getattr(annotation, "__name__", str(annotation))


def _only_guards(limit: Any, found: Any) -> bool:
    return limit.le >= 256 and not (isinstance(found, (int, float)) and found > limit.le)


def _length(limit: Len | MinLen) -> str:
    longest = getattr(limit, "max_length", None)
    return f"{limit.min_length} to {longest} long" if longest else f"at least {limit.min_length} long"


def as_typed(value: Any) -> Any:
    """Return a value as a user would type it on the command line."""
    if value is None:
        return "null"
    if value == "":
        return "an empty text"
    return str(value).lower() if isinstance(value, bool) else value
