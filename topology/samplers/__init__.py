"""Samplers: who exchanges with whom in a round, computed by each peer alone from members, seed and round."""

from topology.registry import Registry
from topology.samplers.base import Sampler

__all__ = ["Sampler", "registry"]

registry: Registry[Sampler] = Registry(
    "sampler",
    "murmuration.samplers",
    {
        "epidemic-local": "topology.samplers.epidemic_local:EpidemicLocal",
        "epidemic-oracle": "topology.samplers.epidemic_oracle:EpidemicOracle",
        "expected-pull": "topology.samplers.expected_pull:ExpectedPull",
        "graph-matching": "topology.samplers.graph_matching:GraphMatching",
        "matching": "topology.samplers.matching:Matching",
        "one-peer-exponential": "topology.samplers.one_peer_exponential:OnePeerExponential",
        "random-neighbour": "topology.samplers.random_neighbour:RandomNeighbour",
        "static": "topology.samplers.static:Static",
    },
)
