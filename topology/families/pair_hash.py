"""A hash of pairs, from hashes of their ends: for families that ask for the fate of all n²/2 pairs.

A cryptographic hash per pair takes a minute for 10⁴ members. Here each member is hashed once, and pairs of these
64-bit keys are scrambled by the finalizer of splitmix64, many at once, in whole numbers and therefore alike on every
machine.
Source: [Steele, Lea & Flood 2014, Fast Splittable Pseudorandom Number Generators].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_FLOAT_BITS = 53


def pair_hashes(key: int, others: Keys) -> NDArray[np.float64]:
    """Return a number in [0, 1) for the pair of `key` and each of `others`, [L]; either may come first.

    `key` and `others` are uniform in [0, 2**64).
    """
    one = np.uint64(key)
    z_L = _scramble((one + others) ^ _scramble(one ^ others))
    return (z_L >> np.uint64(64 - _FLOAT_BITS)).astype(np.float64) * 2.0**-_FLOAT_BITS


def _scramble(z: Keys) -> Keys:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
