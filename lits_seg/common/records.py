"""Write records (frozen dataclasses) as JSON, and validate them when they are read.

Two cases need rules of their own:

- NaN (a value that is not defined) is written as null. A field of type ``float`` reads null as NaN, a field of type
  ``float | None`` as None.
- If a key is not a Python name, the field's metadata contains the key: ``field(metadata={"key": "iou>0.5"})``.

Extra keys are ignored, so that files of newer versions can be read. A field that older files lack needs a default.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lits_seg.common.errors import InputError
from lits_seg.common.untrusted import LARGEST_JSON, read_text

Record = TypeVar("Record")


def as_plain(record: Any) -> Any:
    """Convert a record, or a container of records, to dicts and lists for ``tables.json_text``."""
    if dataclasses.is_dataclass(record):
        return {_key(field): as_plain(getattr(record, field.name)) for field in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {key: as_plain(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [as_plain(value) for value in record]
    return record


def from_plain(kind: type[Record], plain: Any, where: object, name: str | None = None) -> Record:
    """Validate dicts and lists and convert them to a record.

    Args:
        kind: the dataclass.
        plain: content of a JSON file.
        where: place that errors name, such as the file's path.
        name: what errors call the record; by default the name of its class.

    Raises:
        InputError: if a field is missing or has another type; lists at most three fields.
    """
    from pydantic import TypeAdapter, ValidationError  # imported late: takes a tenth of a second

    try:
        # Strict mode rejects true for 1, and "1" for 1. It accepts a list for a tuple only if the input is JSON.
        return TypeAdapter(kind).validate_json(json.dumps(_with_field_names(kind, plain), default=str), strict=True)
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
        name: what errors call the content.

    Raises:
        InputError: if the file is missing, cannot be read, is not JSON, or is too large or too deep.
    """
    text = read_text(path, f"{name} (JSON)", LARGEST_JSON)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"{name} (JSON)", f"no JSON ({error})") from error


def read_record(kind: type[Record], path: Path, name: str | None = None) -> Record:
    """Read a JSON file as a record.

    Args:
        kind: the dataclass.
        path: the file.
        name: what errors call the record; by default the name of its class.

    Raises:
        InputError: if the file is missing, is not JSON, or does not contain the record.
    """
    name = name or f"a {kind.__name__}"
    return from_plain(kind, read_json(path, name), path, name)


def _with_field_names(kind: Any, plain: Any) -> Any:
    """Return ``plain`` with field names instead of keys, and with NaN instead of null in fields of type ``float``."""
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
