"""The version, as the installed package states it."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("murmuration")
AGENT = f"murmuration/{VERSION}"
"""How this software names itself to other peers (libp2p identify, `Hello`)."""
