"""The scenario of a run as people read it, and the keys in which scenarios differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peer.config.spelling import toml_key, toml_value

IS_NO_SETTING = ("name", "about", "seeds")
"""Keys that do not tell one experiment from another."""

UNSET = "not set"


def plain(value: Any) -> Any:
    """Return a scenario as it stands in its file: `{ name, params }` of a piece as one table, without what is unset."""
    if isinstance(value, Mapping):
        if set(value) == {"name", "params"} and isinstance(value["params"], Mapping):
            value = {"name": value["name"], **value["params"]}
        return {str(key): plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value if entry is not None]
    return value


def as_toml(scenario: Mapping[str, Any]) -> str:
    """Return a scenario as TOML: scalars and lists, then tables, then tables that repeat."""
    table = plain(scenario)
    lines = [f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items() if not _is_section(value)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _section(f"[{toml_key(key)}]", value)
        elif _is_section(value):
            for entry in value:
                lines += _section(f"[[{toml_key(key)}]]", entry)
    return "\n".join(lines) + "\n"


def flat(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by the paths of their keys, as `--set` takes them: "links.loss", "timeline[0].at_s"."""
    table = {key: value for key, value in plain(scenario).items() if key not in IS_NO_SETTING}
    return dict(_leaves(table, ""))


def differing(scenarios: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the paths of the keys that are not the same in all scenarios, in the order in which they appear."""
    tables = [flat(scenario) for scenario in scenarios]
    paths = dict.fromkeys(path for table in tables for path in table)
    return [path for path in paths if any(table.get(path) != tables[0].get(path) for table in tables)]


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)
    )


def _section(head: str, table: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield head
    yield from (f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items())


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}.{key}" if path else key)
    elif _is_section(value):
        for place, entry in enumerate(value):
            yield from _leaves(entry, f"{path}[{place}]")
    else:
        yield path, value
