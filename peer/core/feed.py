"""How one neighbour's newest snapshot gets from an offer to the inbox: a state table.

    IDLE ──OFFER──▶ QUEUED ──GRANT──▶ WANTED ──MODEL──▶ CHECKING ──PASS / REJECT──▶ IDLE
                      ▲                 │ FAIL
                      └──EXPIRE── WAITING (backoff)      WANTED ──GIVE_UP──▶ IDLE

A feed works on one snapshot at a time, `current`; what is offered meanwhile only replaces `newest`, so that a fast
author costs no more memory than a slow one, and the slow receiver always goes for the newest (delivery LATEST).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from peer.core.messages import Manifest, PeerId


class FeedState(enum.Enum):
    """Where the work on `Feed.current` stands."""

    __hash__ = object.__hash__  # an enum's own one is a Python function, and the table is looked up per message

    IDLE = enum.auto()  # nothing to get
    QUEUED = enum.auto()  # wanted, but the bound on concurrent requests is reached
    WANTED = enum.auto()  # requested; the answer is awaited until `timer`
    CHECKING = enum.auto()  # arrived; admission is looking at it
    WAITING = enum.auto()  # failed; asked for again at `timer`


class FeedInput(enum.Enum):
    """What can happen to a feed."""

    __hash__ = object.__hash__  # ditto

    OFFER = enum.auto()  # there is something newer than what was last taken
    GRANT = enum.auto()  # a request slot is free
    MODEL = enum.auto()  # the bytes are here and match their hash
    FAIL = enum.auto()  # the request failed and may be tried again
    GIVE_UP = enum.auto()  # it failed for the last time
    EXPIRE = enum.auto()  # the backoff is over
    PASS = enum.auto()  # admission took it
    REJECT = enum.auto()  # admission refused it
    LOST = enum.auto()  # the link to the author is gone


_S, _I = FeedState, FeedInput

TRANSITIONS: dict[tuple[FeedState, FeedInput], FeedState] = {
    (_S.IDLE, _I.OFFER): _S.QUEUED,
    (_S.QUEUED, _I.OFFER): _S.QUEUED,
    (_S.WANTED, _I.OFFER): _S.WANTED,
    (_S.CHECKING, _I.OFFER): _S.CHECKING,
    (_S.WAITING, _I.OFFER): _S.WAITING,  # a new offer does not shorten the backoff of a failing author
    (_S.QUEUED, _I.GRANT): _S.WANTED,
    (_S.WANTED, _I.MODEL): _S.CHECKING,
    (_S.WAITING, _I.MODEL): _S.CHECKING,  # patience was lost too early: the answer is good all the same
    (_S.QUEUED, _I.MODEL): _S.CHECKING,
    (_S.WANTED, _I.FAIL): _S.WAITING,
    (_S.WANTED, _I.GIVE_UP): _S.IDLE,
    (_S.WAITING, _I.EXPIRE): _S.QUEUED,
    (_S.CHECKING, _I.PASS): _S.IDLE,
    (_S.CHECKING, _I.REJECT): _S.IDLE,
    (_S.IDLE, _I.LOST): _S.IDLE,
    (_S.QUEUED, _I.LOST): _S.IDLE,
    (_S.WANTED, _I.LOST): _S.IDLE,
    (_S.WAITING, _I.LOST): _S.IDLE,
    (_S.CHECKING, _I.LOST): _S.CHECKING,  # the bytes are here already
}


def after(happened: FeedInput) -> dict[FeedState, FeedState]:
    """Return the column of the table for one input, for what happens too often to look up a pair."""
    return {before: state for (before, its), state in TRANSITIONS.items() if its is happened}


@dataclass(slots=True, eq=False)
class Feed:
    """One author's snapshots as this peer takes them in.

    Request ids count up from a start drawn at random for each author: an answer that bears another author's id is
    outside `first_id .. last_id` and so known for a forgery, while a late or repeated answer is inside.
    """

    peer: PeerId
    first_id: int
    heard_seq: int = -1  # of the newest offer that the author ever made, ...
    heard_sha256: bytes = b""  # ... and its hash: known also where `newest` is not, from before it was a neighbour
    last_id: int = field(init=False)
    state: FeedState = FeedState.IDLE
    newest: Manifest | None = None  # offered last, ...
    newest_at: float = 0.0  # ... at this time for the first time
    current: Manifest | None = None  # being fetched or checked
    current_at: float = 0.0
    taken_seq: int = -1  # of the last snapshot that was admitted, refused or given up
    attempts: int = 0
    timer: float | None = None  # set by `Timers`: when patience (WANTED) or the backoff (WAITING) is over

    def __post_init__(self) -> None:
        self.last_id = self.first_id - 1

    def apply(self, happened: FeedInput) -> FeedState:
        """Move along the table; KeyError when the caller breaks the protocol of this class (a bug of ours)."""
        state = self.state = TRANSITIONS[self.state, happened]
        return state

    def was_issued(self, request_id: int) -> bool:
        """Whether this feed ever asked under this id."""
        return self.first_id <= request_id <= self.last_id
