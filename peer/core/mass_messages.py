"""What peers say to each other about parcels of mass (delivery MASS): the wire format, in the style of `messages`.

    bulk stream    Parcel + the bytes of the share ->
    link stream    <- Took,   <- Void,   Cancel ->

Numbers are the sender's, growing, over all its receivers and lives. `settled` tells the receiver that the sender will
never again speak to it of a number below: what it remembers of those it may forget.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from peer.core.messages import Count, Message

ShareName = Annotated[bytes, msgspec.Meta(max_length=64)]
"""Says which share: its hash. Where its bytes are is the shell's business."""


class Parcel(Message, frozen=True):
    """This share is yours."""

    number: Count
    settled: Count
    share: ShareName


class Cancel(Message, frozen=True):
    """Unless you have taken this parcel, never take it, and tell me."""

    number: Count
    settled: Count


class Took(Message, frozen=True):
    """The parcel is taken, once."""

    number: Count


class Void(Message, frozen=True):
    """The parcel was not taken and never will be."""

    number: Count


MassMessage = Parcel | Cancel | Took | Void
