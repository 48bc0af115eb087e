"""Churn: when peers are there."""

from netsim.churn.base import Churn
from topology.registry import Registry

__all__ = ["Churn", "registry"]

registry: Registry[Churn] = Registry(
    "churn",
    "murmuration.churn",
    {
        "diurnal": "netsim.churn.diurnal:Diurnal",
        "renewal": "netsim.churn.renewal:Renewal",
        "trace": "netsim.churn.trace:Trace",
    },
)
