"""Logs: structlog events on standard error, for eyes on a terminal, one JSON object a line otherwise.

Events are `snake_case` names with fields. What libraries say through `logging` or `warnings` comes out the same way,
from WARNING on. A remote's text can reach a terminal in a field: control characters are shown, never sent.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from peer.config.peer_file import LogSettings

MAX_FIELD_CHARACTERS = 2000


def configure_logs(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (standard error), from `settings.level` on."""
    stream = sys.stderr if stream is None else stream
    is_console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _short_fields,
    ]
    rendering = _console(stream) if is_console else _json()
    forgiving = _ForgivingStream(stream)
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.WriteLoggerFactory(file=forgiving),  # type: ignore[arg-type]  # write, flush suffice
        cache_logger_on_first_use=False,  # a test, or a second daemon in one process, configures again
    )
    _route_standard_logging(forgiving, shared, rendering)


def _console(stream: TextIO) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,  # the pretty one imports rich
    )
    return [_visible_control_characters, renderer]


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _route_standard_logging(stream: _ForgivingStream, shared: list[Processor], rendering: list[Processor]) -> None:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared], processors=[remove_meta, *rendering]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _short_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut long texts: what goes into a field may come from a trainer's traceback or from a remote."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MAX_FIELD_CHARACTERS:
            event[key] = value[:MAX_FIELD_CHARACTERS] + f"... ({len(value)} characters)"
    return event


def _visible_control_characters(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        event[key] = visible(value) if isinstance(value, str) else value
    return event


def visible(text: str) -> str:
    r"""Return `text` with what is not printable written as an escape (`\x1b`), so that a terminal does not obey it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class _ForgivingStream:
    """Drops what cannot be written: a daemon outlives the terminal or pipe that it reports to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> Any:
        """Write, or drop."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # broken pipe; closed file
            return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        try:
            self._stream.flush()
        except (OSError, ValueError):  # as above
            return
