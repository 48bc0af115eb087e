"""The order of peers that everybody can compute for a round: MoDeST's sampler.

    order(k) = peers sorted by MD5(id ‖ "-" ‖ decimal(k)), digest bytes ascending

The first s live peers of order(k) are the participants of round k, the first a live ones its aggregators: two peers
that know the same members agree on both without a word. Views that differ agree all the same on the peers they have
in common, since leaving a peer out takes away its entry and moves no other ("mostly consistent").

The hash spreads load; it protects nothing. Whoever may choose an id can grind one that comes first in a given round.
Source: [de Vos et al. 2023, MoDeST: Bridging the Gap between Federated and Decentralized Learning with Decentralized
Sampling, arXiv 2302.13837, §3]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def hash_position(peer_id: bytes, round: int) -> bytes:
    """Return the 16 bytes by which a peer is sorted in this round; cost one MD5 of a short string."""
    # MD5 since the paper's authors use it, so that both pick the same sample; it orders, and protects nothing.
    return hashlib.md5(b"%b-%d" % (peer_id, round), usedforsecurity=False).digest()


def hash_order(ids: Iterable[bytes], round: int) -> list[bytes]:
    """Return `ids` in the order of this round; equal digests are ordered by id. O(n log n), n MD5s."""
    return sorted(ids, key=lambda peer_id: (hash_position(peer_id, round), peer_id))
