"""What an algorithm conserves: a linear function of a peer's state whose sum over all peers only local steps change.

    ad-psgd     x
    acid        x + u/2 = (x + x̃)/2      the flow moves neither, whoever is behind with it
    dadao       α̃ z + α z̃               ditto; the sum is 0 for ever
    push-sum    (p x, p)

Sums of x alone would not do for A²CiD² or DADAO: peers let time pass at their own events, so that at no instant all are
up to date. It holds where mixing is linear; a robust rule conserves nothing. NoLoCo conserves nothing either: what its
momentum makes of two copies depends on the momentum.
"""

# B nodes, D entries of the model

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from aggregation.algorithms.acid import LEAD, Acid
from aggregation.algorithms.ad_psgd import AdPsgd
from aggregation.algorithms.dadao import Z_TILDE, Dadao, Z
from aggregation.algorithms.push_sum import MASS, PushSum
from aggregation.mixers.linear import Linear

if TYPE_CHECKING:
    from torch import Tensor

    from aggregation.algorithms import Algorithm
    from aggregation.method import Method
    from aggregation.store import Store

Conserved = Callable[["Store"], "Tensor"]
"""State of B nodes -> [B, W] float64."""


def conserved_by(method: Method) -> Conserved | None:
    """Return what the method conserves; None where that is nothing, or not known."""
    if method.outer is not None or any(type(mixer) is not Linear for mixer in method.mixers.values()):
        return None
    return _of(method.algorithm)


def _of(algorithm: Algorithm) -> Conserved | None:
    if isinstance(algorithm, AdPsgd):
        return lambda st: st["x"].double()
    if isinstance(algorithm, Acid):
        return lambda st: st["x"].double() + 0.5 * st.state(LEAD, st["x"]).double()
    if isinstance(algorithm, Dadao):
        alpha, alpha_tilde = algorithm.alpha, algorithm.alpha_tilde
        return lambda st: alpha_tilde * st.state(Z, st["x"]).double() + alpha * st.state(Z_TILDE, st["x"]).double()
    if isinstance(algorithm, PushSum):
        return lambda st: torch.cat([st[MASS].double() * st["x"].double(), st[MASS].double()], dim=1)
    return None
