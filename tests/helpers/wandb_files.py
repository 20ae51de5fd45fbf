"""Reads what W&B wrote offline."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2


def read_wandb(path: Path) -> Iterator[wandb_internal_pb2.Record]:
    """The records of an offline run: LevelDB's log format around protobuf messages."""
    content, position, parts = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def config_of(records: Iterable[wandb_internal_pb2.Record]) -> dict[str, Any]:
    """The run's config: what a dashboard groups and compares runs by."""
    return {
        ".".join(item.nested_key) or item.key: json.loads(item.value_json)
        for record in records
        for update in [record.run.config, record.config]
        for item in update.update
    }


def history_of(records: Iterable[wandb_internal_pb2.Record]) -> dict[str, list[Any]]:
    """What was logged, by key, in the order of the steps."""
    history: dict[str, list[Any]] = {}
    for record in records:
        for item in record.history.item:
            history.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
    return history
