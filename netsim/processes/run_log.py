"""Read what daemons wrote about their rounds: the canonical `round` line of each, from their JSON logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec


def round_lines(log_path: Path) -> Iterator[dict[str, Any]]:
    """Yield the fields of each `round` event in a daemon's log, in order; other lines and torn ones are passed over."""
    with log_path.open("rb") as log:
        for line in log:
            event = _decoded(line)
            if event.get("event") == "round":
                yield event


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        event = msgspec.json.decode(line)
    except msgspec.DecodeError:  # a line cut by kill -9, or one that a library printed
        return {}
    return event if isinstance(event, dict) else {}
