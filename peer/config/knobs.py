"""How a setting is declared: its type, its bounds, and what an operator must know of it, in one place.

    deadline_s: Annotated[float, knob("How long ...", unit="s", ge=0.1, larger="...", smaller="...")] = 10.0

The reader makes its error lines from this, `murmuration init` its commented files, `docs/settings.md` its tables.
After memberlist's config.go, where each knob states what it costs to turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from topology.registry import Piece

_make_meta: Callable[..., msgspec.Meta] = msgspec.Meta  # its overloads cannot be met by one dict of several types


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table of a settings file. An unknown key is an error."""


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


class Knob(msgspec.Struct, frozen=True, kw_only=True):
    """A declared setting, as the reader and the reference see it."""

    name: str
    kind: msgspec.inspect.Type  # without the wrapping Metadata and the None of an optional one
    default: Any  # msgspec.NODEFAULT when it must be given
    meaning: str
    unit: str
    larger: str
    smaller: str
    example: Any
    planned: tuple[str, ...]

    @property
    def section(self) -> type[Section] | None:
        """The struct of a table of settings; None for a single one."""
        cls = self.kind.cls if isinstance(self.kind, msgspec.inspect.StructType) else None
        return cls if cls is not None and issubclass(cls, Section) else None

    @property
    def item_section(self) -> type[Section] | None:
        """The struct of each table of a list of tables (`[[timeline]]`); None for everything else."""
        item = self.kind.item_type if isinstance(self.kind, msgspec.inspect.VarTupleType) else None
        item = item.type if isinstance(item, msgspec.inspect.Metadata) else item
        cls = item.cls if isinstance(item, msgspec.inspect.StructType) else None
        return cls if cls is not None and issubclass(cls, Section) else None

    @property
    def unit_word(self) -> str:
        """The unit in words."""
        return {"s": "seconds"}.get(self.unit, self.unit)

    @property
    def is_piece(self) -> bool:
        """Whether the setting names a piece of the method."""
        return isinstance(self.kind, msgspec.inspect.StructType) and self.kind.cls is Piece


def knobs_of(section: type[Section]) -> dict[str, Knob]:
    """Return the settings of a table by name, in the order of their declaration."""
    info = msgspec.inspect.type_info(section)
    assert isinstance(info, msgspec.inspect.StructType)
    return {field.name: _knob_of(field) for field in info.fields}


def _knob_of(field: msgspec.inspect.Field) -> Knob:
    meaning, extra, plain = "", {}, field.type
    if isinstance(plain, msgspec.inspect.Metadata):
        meaning = (plain.extra_json_schema or {}).get("description", "")
        extra = plain.extra or {}
        plain = plain.type
    if isinstance(plain, msgspec.inspect.UnionType):  # `X | None`: not set means another setting decides
        plain = next(one for one in plain.types if not isinstance(one, msgspec.inspect.NoneType))
    if isinstance(plain, msgspec.inspect.Metadata):
        plain = plain.type
    if isinstance(plain, msgspec.inspect.StructType) and issubclass(plain.cls, Section):
        meaning = (plain.cls.__doc__ or "").strip()
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    known = {key: extra.get(key, "") for key in ("unit", "larger", "smaller")}
    return Knob(
        name=field.encode_name,
        kind=plain,
        default=default,
        meaning=meaning,
        example=extra.get("example"),
        planned=extra.get("planned", ()),
        **known,
    )
