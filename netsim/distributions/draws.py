"""Draws that are pure functions of the seed, who draws, and what for.

u = (⌊h / 2¹²⌋ + ½) · 2⁻⁵², h a hash of 64 bits: 2⁵² equally spaced numbers, symmetric about ½, exact in a float, and
never 0 or 1. A draw is Q(u), the inversion method of [Devroye 1986, Non-Uniform Random Variate Generation, §II.2].

Hashed are the names one after the other, numbers as i12; and texts as s3:abc, so that 1 and "1" differ and names do not
run together. The encoding of `topology.families.positions` would do as well; this one takes two thirds of its time.
"""

from __future__ import annotations

from hashlib import blake2b

from netsim.distributions.base import Distribution

_STEP = 2.0**-52


def uniform_of(seed: int, *parts: int | str) -> float:
    """Return the number in (0, 1) that belongs to a seed and a tuple of names and numbers."""
    data = f"i{seed};" + "".join([f"i{p};" if type(p) is int else _text(p) for p in parts])
    digest = blake2b(data.encode("utf-8", "surrogatepass"), digest_size=8, person=b"netsim/uniform").digest()
    return ((int.from_bytes(digest) >> 12) + 0.5) * _STEP


def draw(distribution: Distribution, seed: int, *names: int | str) -> float:
    """Return the draw that belongs to a seed and a tuple of names and numbers (who, what for, which time)."""
    return distribution.quantile(uniform_of(seed, *names))


def _text(part: int | str) -> str:
    if not isinstance(part, str):
        raise TypeError(f"names are int or str, not {type(part).__name__}")
    return f"s{len(part)}:{part}"
