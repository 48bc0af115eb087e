"""Distributions of times, sizes and rates: how long a step takes, how fast a link is, how long a peer stays."""

from netsim.distributions.base import Distribution
from netsim.distributions.draws import draw, uniform_of
from topology.registry import Registry

__all__ = ["Distribution", "draw", "registry", "uniform_of"]

registry: Registry[Distribution] = Registry(
    "distribution",
    "murmuration.distributions",
    {
        "constant": "netsim.distributions.constant:Constant",
        "empirical": "netsim.distributions.empirical:Empirical",
        "exponential": "netsim.distributions.exponential:Exponential",
        "lognormal": "netsim.distributions.lognormal:Lognormal",
        "normal": "netsim.distributions.normal:Normal",
        "pareto": "netsim.distributions.pareto:Pareto",
        "uniform": "netsim.distributions.uniform:Uniform",
        "weibull": "netsim.distributions.weibull:Weibull",
    },
)
