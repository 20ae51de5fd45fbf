"""Check the arguments of a configuration against the signatures of the classes that its ``_target_`` keys name."""

import functools
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from lits_seg.common.errors import InputError
from lits_seg.common.settings import as_typed, fits, in_words, misfit, nearest

TARGET = "_target_"
# Keys of Hydra that are no arguments.
HYDRA: dict[str, Any] = {
    TARGET: str,
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
}


def require_arguments(
    key: str, config: Any, kind: Any = object, *, given: Collection[str] = (), limits: Mapping[str, Any] | None = None
) -> None:
    """Require that the class or function of a configuration accepts the configured arguments, without calling it.

    Args:
        key: key of the configuration, for error messages.
        config: resolved configuration with ``_target_``, in plain containers.
        kind: class of the object that is needed.
        given: arguments that the caller adds.
        limits: annotations that replace those of the signature, by key.

    Raises:
        InputError: if the class does not exist or is of another kind, or if an argument is unknown, missing, of another
            type or out of range; names the argument's key.
    """
    if not isinstance(config, Mapping) or TARGET not in config:
        found = "a mapping without it" if isinstance(config, Mapping) else as_typed(config)
        raise InputError(key, f"a mapping with {TARGET}, which names a class", found)
    for name, annotation in HYDRA.items():
        if name in config and not fits(annotation, config[name]):
            raise InputError(f"{key}.{name}", in_words(annotation), as_typed(config[name]))
    function = _located(f"{key}.{TARGET}", config[TARGET])
    made = function if inspect.isclass(function) else _signature(function).return_annotation
    needed = [one for one in _members(kind) if inspect.isclass(one) and one not in PLAIN]
    if not config.get("_partial_") and inspect.isclass(made) and needed and not issubclass(made, tuple(needed)):
        raise InputError(f"{key}.{TARGET}", " or ".join(one.__name__ for one in needed), config[TARGET])
    parameters = _signature(function).parameters
    extra = [one for one in parameters.values() if one.kind is inspect.Parameter.VAR_KEYWORD]
    named = {name: one for name, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    free = [name for name in named if name not in given]
    for name, value in config.items():
        place = f"{key}.{name}"
        if name in HYDRA:
            continue
        if name in given:
            raise InputError(place, "no value, because the command sets this argument", as_typed(value))
        if name not in named and not extra:
            raise InputError(place, f"an argument of {config[TARGET]}: {nearest(name, free)}", "an unknown name")
        annotation = (limits or {}).get(place, named[name].annotation if name in named else Any)
        if isinstance(value, Mapping) and TARGET in value and config.get("_recursive_", True):
            require_arguments(place, value, annotation, limits=limits)
        elif isinstance(value, Mapping) and (entry := _objects_by_name(annotation)) is not None:
            for label, node in value.items():
                require_arguments(f"{place}.{label}", node, entry, limits=limits)
        else:
            _require(place, value, annotation)
    for name, one in named.items():
        if one.default is one.empty and name not in config and name not in given and not config.get("_partial_"):
            raise InputError(f"{key}.{name}", in_words(plain_kind(one.annotation)), "none")


def _require(key: str, value: Any, annotation: Any) -> None:
    kind = plain_kind(annotation)
    if kind is None:
        raise InputError(key, f"a mapping with {TARGET}, which names a class", as_typed(value))
    if not fits(kind, value):
        raise misfit(key, kind, value)


# The types of values in YAML.
PLAIN = (bool, int, float, str, list, tuple, dict, Sequence, Mapping, types.NoneType, object)


def plain_kind(annotation: Any) -> Any:
    """Return an annotation without the types that no value in YAML has; None if no type is left."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (inspect.Parameter.empty, Any) or isinstance(annotation, (str, typing.TypeVar, typing.ForwardRef)):
        return Any
    if origin is Annotated:
        inner = plain_kind(parts[0])
        return None if inner is None else Annotated[(inner, *parts[1:])]
    if origin is Literal:
        return annotation
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for part in parts if (kind := plain_kind(part)) is not None]
        return typing.Union[tuple(kinds)] if kinds else None  # noqa: UP007
    if annotation is None:
        return types.NoneType
    if origin is None:
        return annotation if annotation in PLAIN else None
    if origin not in PLAIN:
        return None
    inner = [part if part is ... else plain_kind(part) for part in parts]
    return None if None in inner else origin[tuple(inner)]


def _located(key: str, name: str) -> Callable:
    try:
        found = pkgutil.resolve_name(name)
    except InputError:  # a package of an extra is missing
        raise
    except Exception as error:  # a module may raise anything while it is imported
        raise InputError(key, "the full name of a class", as_typed(name)) from error
    if not callable(found):
        raise InputError(key, "the full name of a class", name)
    return found


def _objects_by_name(annotation: Any) -> Any:
    """Return the class of the objects in a mapping from names to objects; None for any other annotation."""
    for one in _members(annotation):
        parts = typing.get_args(one)
        if typing.get_origin(one) is Mapping and plain_kind(parts[1]) is None:
            return parts[1]
    return None


@functools.cache
def _signature(function: Callable) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:  # an annotation names a class that is imported only for type checkers
        return inspect.signature(function)
    except ValueError:  # a function in C
        return inspect.Signature([inspect.Parameter("_", inspect.Parameter.VAR_KEYWORD)])


def _members(kind: Any) -> list[Any]:
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return _members(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [one for part in typing.get_args(kind) for one in _members(part)]
    return [kind]
