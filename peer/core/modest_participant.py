"""What a sampled peer does with the models that reach it: a state table. No I/O.

             ┌────── AHEAD (cancels) ─────┐
             ▼                            │
    IDLE ──SAME, AHEAD──▶ UNDER_WAY ──────┘    UNDER_WAY ──TRAINED──▶ DONE ──AHEAD──▶ UNDER_WAY

A round is started at most once, whoever sends its model and however often; a model of an earlier round does nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from peer.core.modest_messages import ModelRef


class Training(enum.Enum):
    """What this peer has done in its current round."""

    IDLE = "idle"  # it has begun none
    UNDER_WAY = "under way"
    DONE = "done"


class ModelInput(enum.Enum):
    """What can happen to a participant."""

    BEHIND = enum.auto()  # a model of an earlier round arrives
    SAME = enum.auto()  # ... of the current round
    AHEAD = enum.auto()  # ... of a later round
    FINAL = enum.auto()  # ... from after the last round: the result
    TRAINED = enum.auto()  # a training is over
    LEAVE = enum.auto()  # this peer leaves the swarm


class Act(enum.Enum):
    """What the participant does about it."""

    NOTHING = enum.auto()
    START = enum.auto()
    CANCEL_AND_START = enum.auto()
    CANCEL = enum.auto()
    HAND_OVER = enum.auto()


_T, _M = Training, ModelInput

TRANSITIONS: dict[tuple[Training, ModelInput], tuple[Training, Act]] = {
    (_T.IDLE, _M.BEHIND): (_T.IDLE, Act.NOTHING),
    (_T.UNDER_WAY, _M.BEHIND): (_T.UNDER_WAY, Act.NOTHING),
    (_T.DONE, _M.BEHIND): (_T.DONE, Act.NOTHING),
    (_T.IDLE, _M.SAME): (_T.UNDER_WAY, Act.START),
    (_T.UNDER_WAY, _M.SAME): (_T.UNDER_WAY, Act.NOTHING),
    (_T.DONE, _M.SAME): (_T.DONE, Act.NOTHING),
    (_T.IDLE, _M.AHEAD): (_T.UNDER_WAY, Act.START),
    (_T.UNDER_WAY, _M.AHEAD): (_T.UNDER_WAY, Act.CANCEL_AND_START),
    (_T.DONE, _M.AHEAD): (_T.UNDER_WAY, Act.START),
    (_T.IDLE, _M.FINAL): (_T.DONE, Act.NOTHING),
    (_T.UNDER_WAY, _M.FINAL): (_T.DONE, Act.CANCEL),
    (_T.DONE, _M.FINAL): (_T.DONE, Act.NOTHING),
    (_T.IDLE, _M.TRAINED): (_T.IDLE, Act.NOTHING),
    (_T.UNDER_WAY, _M.TRAINED): (_T.DONE, Act.HAND_OVER),
    (_T.DONE, _M.TRAINED): (_T.DONE, Act.NOTHING),  # an answer that crossed with `CancelTraining`
    (_T.IDLE, _M.LEAVE): (_T.IDLE, Act.NOTHING),
    (_T.UNDER_WAY, _M.LEAVE): (_T.DONE, Act.CANCEL),  # not IDLE: coming back must not train a round twice
    (_T.DONE, _M.LEAVE): (_T.DONE, Act.NOTHING),
}


@dataclass
class Participant:
    """The round this peer took part in last, and how far it is with it."""

    round: int = 0
    state: Training = Training.IDLE
    started_from: ModelRef | None = None

    def classify(self, round: int, newest_round: int, total_rounds: int) -> ModelInput:
        """Return what a model of `round` is to a peer that holds the aggregated model of `newest_round`."""
        if round < max(self.round, newest_round):
            return ModelInput.BEHIND
        if round == self.round:
            return ModelInput.SAME
        return ModelInput.FINAL if total_rounds and round > total_rounds else ModelInput.AHEAD

    def apply(self, happened: ModelInput) -> Act:
        """Move along the table; return what is to be done."""
        self.state, act = TRANSITIONS[self.state, happened]
        if self.state is not Training.UNDER_WAY:
            self.started_from = None
        return act
