"""Records: frozen dataclasses that are written as JSON and validated when they are read.

Two things that JSON cannot say by itself are settled here:

- NaN (a value that is not defined) is written as null. A field of type ``float`` reads null as NaN; a field of type
  ``float | None`` reads null as None.
- A key that is no Python name stands in the field's metadata: ``field(metadata={"key": "iou>0.5"})``.

Extra keys are ignored, so that older and newer files can be read; missing fields need a default.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lits_seg.common.errors import InputError

Record = TypeVar("Record")


def as_plain(record: Any) -> Any:
    """Return a record, or a container of records, as dicts and lists for ``tables.json_text``."""
    if dataclasses.is_dataclass(record):
        return {_key(field): as_plain(getattr(record, field.name)) for field in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {key: as_plain(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [as_plain(value) for value in record]
    return record


def from_plain(kind: type[Record], plain: Any, where: object, name: str | None = None) -> Record:
    """Validate dicts and lists as a record.

    Args:
        kind: the dataclass.
        plain: content of a JSON file.
        where: named by an error, such as the file's path.
        name: what an error calls such a record; by default its class.

    Raises:
        InputError: if a field is missing or has another type; names up to three fields.
    """
    from pydantic import TypeAdapter, ValidationError  # takes a tenth of a second; only readers need it

    try:
        return TypeAdapter(kind).validate_python(_with_field_names(kind, plain))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        texts = [f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}" for problem in problems[:3]]
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        expected = f"{name or f'a {kind.__name__}'} of this version"
        raise InputError(where, expected, "; ".join(texts) + more) from error


def read_json(path: Path, name: str) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        name: what an error calls its content.

    Raises:
        InputError: if the file is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(path, f"{name} (JSON)", "no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(path, f"{name} (JSON)", error) from error


def read_record(kind: type[Record], path: Path, name: str | None = None) -> Record:
    """Read a JSON file as a record.

    Args:
        kind: the dataclass.
        path: the file.
        name: what an error calls such a record; by default its class.

    Raises:
        InputError: if the file is missing, is not JSON, or does not hold such a record.
    """
    name = name or f"a {kind.__name__}"
    return from_plain(kind, read_json(path, name), path, name)


def _with_field_names(kind: Any, plain: Any) -> Any:
    """Return ``plain`` with the names of fields for keys, and NaN for null in fields of type ``float``."""
    if kind is float and plain is None:
        return float("nan")
    if get_origin(kind) in (Union, UnionType):
        others = [part for part in get_args(kind) if part is not NoneType]
        return plain if plain is None or len(others) > 1 else _with_field_names(others[0], plain)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(plain, Mapping):
        hints = _hints(kind)
        return {
            field.name: _with_field_names(hints[field.name], plain[_key(field)])
            for field in dataclasses.fields(kind)
            if _key(field) in plain
        }
    if get_origin(kind) is dict and isinstance(plain, Mapping):
        return {key: _with_field_names(get_args(kind)[1], value) for key, value in plain.items()}
    if get_origin(kind) in (list, tuple) and isinstance(plain, (list, tuple)):
        return [_with_field_names(get_args(kind)[0], value) for value in plain]
    return plain


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _key(field: dataclasses.Field) -> str:
    return field.metadata.get("key", field.name)
