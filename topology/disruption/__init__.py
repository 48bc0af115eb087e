"""Disruption: which peers a disaster hits (targets), and what it leaves of the graph (`topology.disruption.cut`)."""

from topology.disruption.base import Target
from topology.registry import Registry

__all__ = ["Target", "registry"]

registry: Registry[Target] = Registry(
    "target",
    "murmuration.targets",
    {
        "area": "topology.disruption.area:Area",
        "betweenness": "topology.disruption.betweenness:Betweenness",
        "hubs": "topology.disruption.hubs:Hubs",
        "leaves": "topology.disruption.leaves:Leaves",
        "listed": "topology.disruption.listed:Listed",
        "random": "topology.disruption.random:Random",
    },
)
