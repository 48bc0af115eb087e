"""Write settings files with every setting explained, from the structs, so that the explanations cannot rot.

In `peer.toml` a setting at its default is commented out: a later version may choose a better one. In `swarm.toml` every
setting is spelled out: peers of different versions must still agree on it.
"""

from __future__ import annotations

import textwrap

from peer.config.complaints import expected_values
from peer.config.knobs import Knob, Section, knobs_of
from peer.config.peer_file import PeerFile
from peer.config.spelling import toml_value
from peer.config.swarm_file import SwarmFile

WIDTH = 100

PEER_HEAD = "Settings of this device. A line that begins with `#` and a setting shows the default."
SWARM_HEAD = (
    "What all members of this swarm agree on. Give every member the same file: peers whose files say different things "
    "never mix. Comments and formatting make no difference."
)


def peer_toml(peer: PeerFile) -> str:
    """Return `peer.toml` for `peer`; settings at their default are commented out."""
    return _file(PEER_HEAD, peer, comment_out_defaults=True)


def swarm_toml(swarm: SwarmFile) -> str:
    """Return `swarm.toml` for `swarm`, everything spelled out."""
    return _file(SWARM_HEAD, swarm, comment_out_defaults=False)


def _file(head: str, settings: Section, *, comment_out_defaults: bool) -> str:
    lines = [*_comment(head), ""]
    for name, knob in knobs_of(type(settings)).items():
        value = getattr(settings, name)
        if knob.section is None:
            lines += _setting(knob, value, comment_out_defaults)
    for name, knob in knobs_of(type(settings)).items():
        if knob.section is not None:
            lines += _table(name, knob.section, getattr(settings, name), comment_out_defaults)
    return "\n".join(lines).rstrip() + "\n"


def _table(name: str, section: type[Section], settings: Section, comment_out_defaults: bool) -> list[str]:
    lines = [f"[{name}]", *_comment((section.__doc__ or "").strip()), ""]
    for key, knob in knobs_of(section).items():
        lines += _setting(knob, getattr(settings, key), comment_out_defaults)
    return lines


def _setting(knob: Knob, value: object, comment_out_defaults: bool) -> list[str]:
    is_unset = value is None  # another setting decides; an example is shown
    mark = "#" if is_unset or (comment_out_defaults and value == knob.default) else ""
    return [*_comment(explanation(knob)), f"{mark}{knob.name} = {toml_value(knob.example if is_unset else value)}", ""]


def explanation(knob: Knob) -> str:
    """Return what an operator should know of a setting, as one paragraph."""
    choice = ", ".join(toml_value(value) for value in expected_values(knob))
    parts = [
        knob.meaning,
        f"One of {choice}." if len(expected_values(knob)) > 1 else "",
        f"Larger: {knob.larger}." if knob.larger else "",
        f"Smaller: {knob.smaller}." if knob.smaller else "",
    ]
    return " ".join(part for part in parts if part)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False, break_long_words=False)]
