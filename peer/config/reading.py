"""Read settings files (`peer.toml`, `swarm.toml`, scenarios) into strict structs; what is wrong becomes one line of
`ConfigError`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from peer.config.complaints import explain, missing, unknown_key, wrong_value
from peer.config.knobs import Knob, Section, knobs_of
from peer.config.peer_file import PeerFile
from peer.config.swarm_file import SwarmFile
from peer.errors import ConfigError

MAX_FILE_BYTES = 1024**2

INIT = "`murmuration init` makes one"

S = TypeVar("S", bound=Section)


def read_peer_file(path: Path) -> PeerFile:
    """Read `peer.toml`; paths in it come back absolute. Raises `ConfigError`."""
    return _with_paths_from(path.absolute().parent, read_settings(path, PeerFile, advice=INIT))


def read_swarm_file(path: Path) -> SwarmFile:
    """Read `swarm.toml`. Names and parameters of pieces are not looked at: see `pieces.check_pieces`.

    Raises `ConfigError`.
    """
    return read_settings(path, SwarmFile, advice=INIT)


def read_settings(path: Path, whole: type[S], *, advice: str) -> S:
    """Read a file as `whole`; `advice` says where such a file comes from when there is none. Raises `ConfigError`."""
    return settings_of(_parse(path, _text(path, advice)), whole, str(path))


def settings_of(given: Mapping[str, Any], whole: type[S], name: str) -> S:
    """Turn parsed TOML into `whole`; complaints begin with `name`. Raises `ConfigError`."""
    try:
        return msgspec.convert(_checked_table(given, whole, "", whole), whole, dec_hook=_path_of)
    except _RefusedError as refusal:
        raise ConfigError(f"{name}: {refusal}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {explain(error, given, whole)}") from None


def _text(path: Path, advice: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; {advice}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes; that is no settings file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        line = re.match(r"line (\d+)", where)
        number = line[1] if line else str(text.count("\n") + 1)
        raise ConfigError(f"{path}:{number}: not valid TOML: {what[:1].lower()}{what[1:]}") from None


class _RefusedError(Exception):
    """Carries our own complaint out of the walk over the tables."""


def _checked_table(
    given: Mapping[str, Any], section: type[Section], prefix: str, whole: type[Section]
) -> dict[str, Any]:
    """Return the table with each piece as `{name, params}`; raise `_RefusedError` for what must not be there."""
    known = knobs_of(section)
    checked: dict[str, Any] = {}
    for key, value in given.items():
        knob = known.get(key)
        if knob is None:
            raise _RefusedError(unknown_key(key, prefix, section, whole))
        if knob.is_piece:
            checked[key] = _checked_piece(value, f"{prefix}{key}", knob)
        elif knob.section is not None and isinstance(value, Mapping):
            checked[key] = _checked_table(value, knob.section, f"{prefix}{key}.", whole)
        elif knob.item_section is not None and isinstance(value, list):
            checked[key] = [
                _checked_table(item, knob.item_section, f"{prefix}{key}[{place}].", whole)
                if isinstance(item, Mapping)
                else item
                for place, item in enumerate(value)
            ]
        else:
            checked[key] = value
    return checked


def _checked_piece(value: object, path: str, knob: Knob) -> dict[str, Any]:
    if isinstance(value, str):
        raise _RefusedError(f'{path} = "{value}": write {path} = {{ name = "{value}" }}')
    if not isinstance(value, Mapping):
        raise _RefusedError(wrong_value(path, value, knob))
    if not isinstance(value.get("name"), str):
        raise _RefusedError(missing(f"{path}.name", knob))
    return {"name": value["name"], "params": {key: entry for key, entry in value.items() if key != "name"}}


def _path_of(wanted: type, value: object) -> Path:
    if wanted is not Path or not isinstance(value, str) or not value or "\0" in value:
        raise TypeError("not a path")
    return Path(value)


def _with_paths_from(folder: Path, section: S) -> S:
    changed: dict[str, Any] = {}
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Path):
            changed[name] = folder / value.expanduser()
        elif isinstance(value, Section):
            changed[name] = _with_paths_from(folder, value)
    return msgspec.structs.replace(section, **changed)
