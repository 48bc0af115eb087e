"""Graph families: who is neighbour of whom, computed by every peer alone from the members and the swarm's seed."""

from topology.families.base import Family
from topology.registry import Registry

__all__ = ["Family", "registry"]

registry: Registry[Family] = Registry(
    "graph family",
    "murmuration.families",
    {
        "barabasi-albert": "topology.families.barabasi_albert:BarabasiAlbert",
        "clustered": "topology.families.clustered:Clustered",
        "complete": "topology.families.complete:Complete",
        "erdos-renyi": "topology.families.erdos_renyi:ErdosRenyi",
        "exponential": "topology.families.exponential:Exponential",
        "file": "topology.families.file:File",
        "geometric": "topology.families.geometric:Geometric",
        "hypercube": "topology.families.hypercube:Hypercube",
        "regular": "topology.families.regular:Regular",
        "ring": "topology.families.ring:Ring",
        "star": "topology.families.star:Star",
        "torus": "topology.families.torus:Torus",
        "watts-strogatz": "topology.families.watts_strogatz:WattsStrogatz",
    },
)
