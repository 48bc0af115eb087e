"""Errors of topology, and of the registry that all packages share.

TopologyError
├── GraphError               not a simple graph, or a node that it does not have
├── MissingSolverError       an optimum is asked for, and the solver of convex programs is not installed
├── UnsolvedError            a calculation gave up before it was as accurate as promised
└── PieceError (ValueError)  a plug-in was named or set up wrongly; the message says what would be right
    ├── UnknownPieceError    nothing is registered under this name
    ├── BadParameterError    unknown, missing, mistyped or out of range
    ├── DuplicatePieceError  two pieces claim one name
    └── BrokenPieceError     a registered piece cannot be imported, or does not keep the contract of pieces
"""


class TopologyError(Exception):
    """Base of all errors that this package raises on purpose."""


class GraphError(TopologyError):
    """The edges do not form a simple undirected graph, or a node is asked for that is not in it."""


class MissingSolverError(TopologyError):
    """The solver of convex programs, an optional dependency, is not installed."""


class UnsolvedError(TopologyError):
    """A solver or an iteration gave up before its result was as accurate as promised."""


class PieceError(TopologyError, ValueError):
    """A piece cannot be had as asked for. A ValueError, so that msgspec reports it with its path when nested."""


class UnknownPieceError(PieceError):
    """Nothing is registered under this name."""


class BadParameterError(PieceError):
    """A parameter is unknown, missing, of the wrong type or out of range."""


class DuplicatePieceError(PieceError):
    """Two pieces claim the same name."""


class BrokenPieceError(PieceError):
    """A registered piece cannot be imported, or has no usable `Config`."""
