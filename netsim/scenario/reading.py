"""Read a scenario, and name it by a hash of all that it says."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from netsim.scenario.scenario_file import Scenario
from peer.config.knobs import Section
from peer.config.reading import read_settings, settings_of
from peer.errors import ConfigError
from topology.registry import Piece

ADVICE = "`murmuration sim --list` names those that come with murmuration"
Change = Callable[[Path], Path]

FILE_PARAMETERS = ("file", "path")
"""Parameters of pieces that name a file, relative to the folder of the scenario."""


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file; files that its pieces name come back absolute. Raises `ConfigError`.

    Names and parameters of pieces are not looked at: see `checks.check_scenario`.
    """
    return _with_files_from(path.absolute().parent, read_settings(path, Scenario, advice=ADVICE))


def scenario_of(given: Mapping[str, Any], name: str) -> Scenario:
    """Turn parsed TOML into a scenario; complaints begin with `name`. Raises `ConfigError`."""
    return settings_of(given, Scenario, name)


def scenario_hash(scenario: Scenario) -> str:
    """Return SHA-256, in hex, over everything that the results depend on: settings but for name, text and seeds, and
    the content (not the place) of the files that pieces name. Raises `ConfigError` when one cannot be read.
    """
    plain = msgspec.structs.replace(scenario, name="x", about="", seeds=(1,))
    contents = [_content(path) for path in _files(plain)]
    nameless = _mapped(plain, lambda piece: _renamed(piece, lambda path: Path(path.name)))
    digest = hashlib.sha256(b"murmuration/scenario/1\0" + msgspec.json.encode(nameless, order="sorted"))
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def swarm_of(scenario: Scenario) -> bytes:
    """Return the id of the scenario's swarm, 32 bytes: a hash of what its members agree on, and of nothing that befalls
    them. So scenarios that differ in a disaster alone start from the same model and draw the same batches.
    """
    plain = _mapped(scenario, lambda piece: _renamed(piece, lambda path: Path(path.name)))
    agreed = {name: getattr(plain, name) for name in ("task", "topology", "method", "rounds", "limits", "membership")}
    return hashlib.sha256(b"murmuration/virtual swarm/1\0" + msgspec.json.encode(agreed, order="sorted")).digest()


def _content(path: Path) -> bytes:
    """Return the content of a file, or names and hashes of the files of a folder."""
    try:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.is_file())
            return b"".join(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest() for file in files)
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _files(scenario: Scenario) -> Iterator[Path]:
    found: list[Path] = []

    def note(path: Path) -> Path:
        found.append(path)
        return path

    _mapped(scenario, lambda piece: _renamed(piece, note))
    yield from found


def _with_files_from(folder: Path, scenario: Scenario) -> Scenario:
    absolute: Scenario = _mapped(scenario, lambda piece: _renamed(piece, lambda path: folder / path.expanduser()))
    return absolute


def _renamed(piece: Piece, change: Change) -> Piece:
    return Piece(piece.name, _renamed_table(piece.params, change))


def _renamed_table(params: Mapping[str, Any], change: Change) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in params.items():
        if key in FILE_PARAMETERS and isinstance(value, str) and value:
            changed[key] = str(change(Path(value)))
        elif isinstance(value, Mapping):
            changed[key] = _renamed_table(value, change)
        else:
            changed[key] = value
    return changed


def _mapped(section: Any, change: Callable[[Piece], Piece]) -> Any:
    """Return the settings with `change` done to every piece."""
    if isinstance(section, Piece):
        return change(section)
    if isinstance(section, tuple):
        return tuple(_mapped(item, change) for item in section)
    if isinstance(section, Section):
        fields = section.__struct_fields__
        return msgspec.structs.replace(section, **{name: _mapped(getattr(section, name), change) for name in fields})
    return section


def plain(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as tables of TOML: pieces as `{ name = ..., parameter = ... }`, what is not set left out."""
    table: dict[str, Any] = _plain(scenario)
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, Piece):
        return {"name": value.name, **copy.deepcopy(value.params)}
    if isinstance(value, Section):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {name: _plain(field) for name, field in fields.items() if field is not None}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def with_settings(scenario: Scenario, settings: Mapping[str, Any]) -> Scenario:
    """Return the scenario with other values, by the paths of their keys: "links.loss", "topology.family.m".

    Raises `ConfigError` for a path or a value that a scenario file may not have either.
    """
    table = plain(scenario)
    for path, value in settings.items():
        _set(table, path, copy.deepcopy(value))  # a later path may lead into it
    return scenario_of(table, "--set")


def _set(table: dict[str, Any], path: str, value: Any) -> None:
    steps = [int(step) if step.isdecimal() else step for step in re.findall(r"[^.\[\]]+", path)]
    if not steps:
        raise ConfigError(f"--set: {path!r} is no key")
    place: Any = table
    for step in steps[:-1]:
        if isinstance(place, dict) and isinstance(step, str):
            place = place.setdefault(step, {})
        elif isinstance(place, list) and isinstance(step, int) and step < len(place):
            place = place[step]
        else:
            raise ConfigError(f"--set: {path}: there is no {step!r} here")
    last = steps[-1]
    fits_table = isinstance(place, dict) and isinstance(last, str)
    fits_list = isinstance(place, list) and isinstance(last, int) and last < len(place)
    if not (fits_table or fits_list):
        raise ConfigError(f"--set: {path}: there is no {last!r} here")
    place[last] = value
