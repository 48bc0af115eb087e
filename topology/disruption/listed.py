"""Those named are hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from topology.graph import Graph, Node


class Listed:
    """Candidates are hit by name.

        T = peers ∩ candidates

    Who is named and is no candidate (gone already, say) is passed over. Cost O(n).
    Source: ours.
    """

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Whom."""

        peers: Annotated[
            tuple[int | str, ...],
            msgspec.Meta(max_length=1_000_000, description="Names of peers, or their numbers where they have numbers."),
        ]

    def __init__(self, config: Config) -> None:
        self.config = config

    def choose(
        self,
        graph: Graph[Node],  # noqa: ARG002  the interface
        candidates: Sequence[Node],
        *,
        seed: int,  # noqa: ARG002  the interface
        positions: Mapping[Node, tuple[float, float]],  # noqa: ARG002  the interface
    ) -> tuple[Node, ...]:
        """Return who is hit, sorted."""
        named = set(self.config.peers)
        return tuple(sorted(node for node in set(candidates) if node in named))
