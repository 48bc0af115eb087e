"""Why a settings file cannot be used, in one line each: the path of the setting, what is wrong, what to write.

msgspec says what is wrong and where; what would be right is known from the declaration of the setting (`knobs.py`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from peer.config.knobs import Knob, Section, knobs_of
from peer.config.spelling import shown, toml_key

_AT = re.compile(r"(?P<text>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_STEP = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\[(?P<place>\d+)\])?")


def unknown_key(key: str, path: str, section: type[Section], whole: type[Section]) -> str:
    """Complain of a key that `section` (at `path` of the file `whole`) does not have."""
    full = f"{path}{toml_key(key)}"
    elsewhere = [place for place, knob in _all_knobs(whole) if knob.name == key]
    if elsewhere:
        table, _, _ = elsewhere[0].rpartition(".")
        where = f"under [{table}]" if table else "at the top of the file, before the first [table]"
        return f"{full} is not a setting; {key} belongs {where}"
    known = knobs_of(section)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not close:
        return f"{full} is not a setting; known here: {', '.join(known)}"
    unit = known[close[0]].unit_word
    in_unit = f" (in {unit})" if unit else ""
    return f"{full} is not a setting; did you mean {path}{close[0]}{in_unit}?"


def explain(error: msgspec.ValidationError, given: Mapping[str, Any], whole: type[Section]) -> str:
    """Turn what msgspec says of `given` into our line."""
    located = _AT.fullmatch(str(error))
    text, path = (located["text"], located["path"].lstrip(".")) if located else (str(error), "")
    section: type[Section] = whole
    value: Any = given
    for step in _STEP.finditer(path):
        knob = knobs_of(section)[step["name"]]
        value = value[step["name"]]
        inner = knob.section
        if step["place"] is not None and knob.item_section is not None:
            inner, value = knob.item_section, value[int(step["place"])]
        if inner is None:
            return wrong_value(path, _item(value, path), knob)
        section = inner
    if not isinstance(value, Mapping):
        name, item, _ = path.partition("[")
        table = f"[[{name}]]" if item else f"[{path}]"
        return f"{path} is a table of settings; write {table} on a line of its own and its settings below"
    return _explain_table(text, f"{path}." if path else "", section)


def wrong_value(path: str, value: object, knob: Knob) -> str:
    """Complain of a value of the wrong type, unit or range."""
    if value in knob.planned:
        return f"{path} = {shown(value)} is not available yet; write {shown(expected_values(knob)[0])}"
    return f"{path} = {shown(value)}: write {expectation(knob)}"


def missing(path: str, knob: Knob) -> str:
    """Complain of a setting that has no default."""
    return f"{path} is missing; write {expectation(knob)}"


def expectation(knob: Knob) -> str:
    """Say what a setting takes, with an example."""
    values = expected_values(knob)
    if values:
        return ("one of " if len(values) > 1 else "") + ", ".join(shown(value) for value in values)
    example = knob.example if knob.example is not None else knob.default
    such_as = "" if example in (None, (), "", msgspec.NODEFAULT) else f", e.g. {shown(example)}"
    has_form = isinstance(knob.kind, inspect.VarTupleType) or getattr(knob.kind, "pattern", None)
    return f"{_kind(knob)}{bounds(knob.kind)}{such_as}" + (f" ({_first_clause(knob.meaning)})" if has_form else "")


def expected_values(knob: Knob) -> tuple[Any, ...]:
    """Return the values of a setting that takes one of a few, else nothing."""
    return tuple(sorted(knob.kind.values)) if isinstance(knob.kind, inspect.LiteralType) else ()


def bounds(kind: inspect.Type) -> str:
    """Say the bounds of a number or the pattern of a text, if it has any."""
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        low = "" if kind.ge is None else f" from {_number(kind.ge)}"
        low += "" if kind.gt is None else f" above {_number(kind.gt)}"
        return low + ("" if kind.le is None else f" to {_number(kind.le)}")
    if isinstance(kind, inspect.StrType) and kind.max_length is not None:
        return f" of at most {kind.max_length} characters"
    return ""


def _explain_table(text: str, prefix: str, section: type[Section]) -> str:
    known = knobs_of(section)
    if absent := re.fullmatch(r"Object missing required field `(\w+)`", text):
        return missing(f"{prefix}{absent[1]}", known[absent[1]])
    name, colon, rest = text.partition(": ")
    if colon and name in known:  # a rule over several settings, which names the first of them
        return f"{prefix}{name}: {rest}"
    return f"{prefix or 'the file'}: {text}"


def _kind(knob: Knob) -> str:
    words = {
        inspect.FloatType: "a number",
        inspect.IntType: "a whole number",
        inspect.BoolType: "true or false",
        inspect.StrType: "text in quotes",
        inspect.CustomType: "a path in quotes",
        inspect.VarTupleType: "a list",
        inspect.StructType: "a table with a name",
    }
    unit = f" of {knob.unit_word}" if knob.unit else ""
    return words[type(knob.kind)] + unit


def _item(value: Any, path: str) -> Any:
    """Return the item of the list `value` that `path` ends with (`listen[1]`), else the value itself."""
    index = re.search(r"\[(\d+)\]$", path)
    return value[int(index[1])] if index else value


def _first_clause(meaning: str) -> str:
    return re.split(r"[;.] ", meaning, maxsplit=1)[0].rstrip(".")


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


def _all_knobs(section: type[Section], prefix: str = "") -> Iterator[tuple[str, Knob]]:
    for knob in knobs_of(section).values():
        inner = knob.section or knob.item_section
        if inner is None:
            yield f"{prefix}{knob.name}", knob
        else:
            yield from _all_knobs(inner, f"{prefix}{knob.name}.")
