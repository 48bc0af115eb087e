"""Pseudo-random positions of names: the same on every machine, and independent of who else is there.

Everything random in a family comes from here. A member's position depends on its own name, the seed and a salt only,
so a join or a leave moves nobody else: this is what keeps graphs stable under churn (the idea of consistent hashing,
[Karger et al. 1997, Consistent Hashing and Random Trees]). Python's own `hash()` differs between processes and is
never used. The encoding is canonical: parts are length-prefixed and typed, so 1 and "1" are different names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import count, pairwise

from topology.graph import Node

POSITION_BITS = 64


def position(*parts: int | str) -> int:
    """Return the position of a tuple of names and numbers: uniform in [0, 2**64)."""
    return int.from_bytes(blake2b(_encode(parts), digest_size=POSITION_BITS // 8, person=b"topology/1").digest())


def encoded(part: int | str) -> bytes:
    """Return a name or number as `position` hashes it, for `positions_after`."""
    return _encode_part(part)


def positions_after(parts: Iterable[int | str], lasts: Iterable[bytes]) -> Iterator[int]:
    """Yield `position(*parts, last)` for each last part, given `encoded`: the common parts are hashed once only."""
    common = blake2b(_encode(parts), digest_size=POSITION_BITS // 8, person=b"topology/1")
    for last in lasts:
        whole = common.copy()
        whole.update(last)
        yield int.from_bytes(whole.digest())


def words(*parts: int | str) -> Iterator[int]:
    """Yield numbers uniform in [0, 2**64) without end: a stream of its own for each tuple of names and numbers."""
    data = _encode(parts)
    for block in count():
        digest = blake2b(data + block.to_bytes(8), digest_size=64, person=b"topology/words").digest()
        yield from struct.unpack(">8Q", digest)


def ordered(members: Iterable[Node], seed: int, purpose: str, salt: int = 0) -> list[Node]:
    """Return the distinct members in the order of their positions under (seed, purpose, salt).

    Equal positions (probability n²/2**65) fall back to the order of names, so that all peers still agree.
    """
    return sorted(sorted(set(members)), key=lambda name: position(seed, purpose, salt, name))


def circle(order: Sequence[Node]) -> list[tuple[Node, Node]]:
    """Return the edges of the ring through `order`: none for one node, one for two, n for n >= 3."""
    if len(order) < 3:
        return list(pairwise(order))
    return [(node, order[(i + 1) % len(order)]) for i, node in enumerate(order)]


def _encode(parts: Iterable[int | str]) -> bytes:
    return b"".join(_encode_part(part) for part in parts)


def _encode_part(part: int | str) -> bytes:
    if isinstance(part, bool) or not isinstance(part, (int, str)):
        raise TypeError(f"names are int or str, not {type(part).__name__}")
    tag, text = (b"i", str(part)) if isinstance(part, int) else (b"s", part)
    data = text.encode("utf-8", "surrogatepass")
    return tag + len(data).to_bytes(4) + data
