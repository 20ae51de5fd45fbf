"""Records: frozen dataclasses that are written as JSON and validated when they are read."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from lits_seg.common.errors import InputError

Record = TypeVar("Record")


def as_plain(record: Any) -> Any:
    """Return a record as dicts and lists, ready for ``tables.json_text``."""
    return dataclasses.asdict(record)


def from_plain(kind: type[Record], plain: Any, where: object) -> Record:
    """Validate dicts and lists as a record.

    Args:
        kind: the dataclass.
        plain: what a JSON file held.
        where: what an error names, such as the file's path.

    Raises:
        InputError: if a field is missing or has another type; names up to three fields.
    """
    from pydantic import TypeAdapter, ValidationError  # takes a tenth of a second; only readers need it

    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        texts = [f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}" for problem in problems[:3]]
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise InputError(where, f"a {kind.__name__} of this version", "; ".join(texts) + more) from error


def read_record(kind: type[Record], path: Path) -> Record:
    """Read a JSON file as a record.

    Args:
        kind: the dataclass.
        path: the file.

    Raises:
        InputError: if the file is missing, is not JSON, or does not hold such a record.
    """
    try:
        plain = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(path, f"a {kind.__name__} (JSON)", "no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(path, f"a {kind.__name__} (JSON)", error) from error
    return from_plain(kind, plain, path)
