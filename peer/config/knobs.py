"""How a setting is declared: its type, its bounds, and what an operator must know of it, in one place.

    deadline_s: Annotated[float, knob("How long ...", unit="s", ge=0.1, larger="...", smaller="...")] = 10.0

The reader makes its error lines from this, `murmuration init` its commented files, `docs/settings.md` its tables.
After memberlist's config.go, where each knob states what it costs to turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_make_meta: Callable[..., msgspec.Meta] = msgspec.Meta  # its overloads cannot be met by one dict of several types


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table of a settings file. An unknown key is an error."""


class Piece(msgspec.Struct, frozen=True):
    """A piece of the method by name, with its parameters: `{ name = "regular", degree = 4 }` in TOML.

    Names and parameters are checked by the registry of the piece (`peer.config.pieces`), not here.
    """

    name: str
    params: dict[str, Any] = {}


def knob(
    meaning: str,
    *,
    unit: str = "",
    larger: str = "",
    smaller: str = "",
    example: object = None,
    planned: tuple[str, ...] = (),
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
) -> msgspec.Meta:
    """Describe one setting, for `Annotated`.

    `unit` is shown to people (`s`, `bytes`, `rounds`); `larger` and `smaller` say what turning it up or down costs;
    `example` is shown where the default is no good example; `planned` are values that a later version will accept.
    The other arguments are the bounds of `msgspec.Meta`.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "min_length": min_length, "max_length": max_length, "pattern": pattern}
    return _make_meta(
        description=meaning,
        extra={"unit": unit, "larger": larger, "smaller": smaller, "example": example, "planned": planned},
        **{name: bound for name, bound in bounds.items() if bound is not None},
    )
