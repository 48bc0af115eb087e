"""The scenarios that come with murmuration, by name, and scenarios of one's own, by path."""

from __future__ import annotations

from pathlib import Path

from netsim.scenario import Scenario, read_scenario
from peer.errors import ConfigError

FOLDER = Path(__file__).parent.parent / "scenarios"


def names() -> tuple[str, ...]:
    """Return the names of our scenarios, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def find(source: str) -> Path:
    """Return the file of a scenario: one of ours by name, or a path. Raises `ConfigError`."""
    if source in names():
        return FOLDER / f"{source}.toml"
    path = Path(source)
    if not path.exists() and path.suffix != ".toml" and path.parent == Path():
        raise ConfigError(
            f"no scenario {source!r} comes with murmuration, and it is no file; known: {', '.join(names())}"
        )
    return path


def text(source: str) -> str:
    """Return what a scenario file says. Raises `ConfigError` when it cannot be read."""
    path = find(source)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; save the file as UTF-8") from None


def load(source: str) -> Scenario:
    """Read a scenario by name or path; its pieces are not looked at. Raises `ConfigError`."""
    return read_scenario(find(source))
