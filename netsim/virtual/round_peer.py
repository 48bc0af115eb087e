"""One peer of a virtual world: the shell around the daemon's exchange core, as `peer/node.py` and `peer/learning.py`.

    train ──(modelled time)──▶ publish ─▶ gather ─▶ mix ─▶ train ...

It decides nothing. What the core asks for is done in virtual time: messages and models travel over the wire, admission
and mixing take no time, a peer that crashes forgets its core and keeps its checkpoint, which is the model of the
beginning of its round. As in the daemon, one trainer does one thing at a time: what arrives during local steps is
looked at when they are over.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from netsim.virtual.learning import Heard, Version
from netsim.virtual.stream import Stream
from peer.core.exchange import ExchangeCore, Phase
from peer.core.exchange_events import CheckModel, Misbehaved, ModelDropped, RoundReady
from peer.core.messages import Manifest, Message, Model, PeerId, Records, Refuse
from peer.net.serve import MAX_UPLOADS, MAX_UPLOADS_PER_PEER

if TYPE_CHECKING:
    from netsim.virtual.round_protocol import RoundProtocol

SEQ_PER_LIFE = 2**32


class RoundPeer:
    """The shell of one peer; `world` is what it lives in, `index` who it is."""

    __slots__ = (
        "_armed_at",
        "_began_at",
        "_degree",
        "_held",
        "_is_training",
        "_life",
        "_own",
        "_trained_at",
        "_unchecked",
        "_uploads",
        "core",
        "index",
        "is_there",
        "name",
        "protocol",
        "rng",
        "round",
        "seq",
        "steps_done",
    )

    def __init__(self, protocol: RoundProtocol, index: int, name: PeerId) -> None:
        self.protocol = protocol
        self.index = index
        self.name = name
        self.core: ExchangeCore | None = None
        self.is_there = False
        self.round = 0  # of the core: exchanges, of which a round of the method may have several
        self.seq = 0
        self.steps_done = 0
        self.rng = Stream(protocol.world.seed, name, "core")
        self._life = 0
        self._armed_at = float("inf")
        self._began_at = 0.0
        self._trained_at = 0.0
        self._degree = 0  # as published last
        self._is_training = False
        self._unchecked: list[CheckModel] = []
        self._own: deque[Version] = deque()
        self._held: set[Version] = set()
        self._uploads: dict[int, int] = {}

    # Life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Be there: from the beginning, or from the checkpoint."""
        self._life += 1
        self.is_there = True
        self.seq = max(self.seq, self._life * SEQ_PER_LIFE)
        self.core = self.protocol.make_core(self)

    def stop(self) -> None:
        """Be gone, as after kill -9: core and received snapshots are lost."""
        self._life += 1
        self.is_there = False
        self.core = None
        self._armed_at = float("inf")
        learning = self.protocol.learning
        for version in [*self._own, *sorted(self._held)]:
            learning.release(version)
        self._is_training = False
        self._unchecked.clear()
        self._own.clear()
        self._held.clear()
        self._uploads.clear()

    @property
    def is_done(self) -> bool:
        """Whether all its rounds are done."""
        return self.core is not None and self.core.phase is Phase.DONE

    def begin_round(self, life: int) -> None:
        """Start the local steps of the round, if the peer still lives the life in which this was planned."""
        core = self.core
        if life != self._life or core is None or core.phase is not Phase.TRAINING:
            return
        protocol = self.protocol
        now = protocol.queue.now
        self._began_at = now
        self._is_training = True
        protocol.wire_round(self, now)
        self._trained_at = now
        if core.round % protocol.gossip_steps:
            self.trained(life)
            return
        duration_s = protocol.training_time(self)
        self._trained_at = now + duration_s
        protocol.queue.at(now + duration_s, self.trained, life)

    def go(self) -> None:
        """Begin to learn."""
        self.begin_round(self._life)

    def trained(self, life: int) -> None:
        """The local steps are done: publish."""
        core = self.core
        if life != self._life or core is None:
            return
        protocol, learning, now = self.protocol, self.protocol.learning, self.protocol.queue.now
        round, step = divmod(core.round, protocol.gossip_steps)
        if step == 0 and (steps := learning.num_steps(self.index)):
            learning.train(self.index, round)
            self.steps_done += steps
        self._degree = len(core.neighbours)
        core.publish(self._publish(round), now)
        self.flush(now)
        self._is_training = False
        waiting, self._unchecked = self._unchecked, []
        for check in waiting:
            self._check(core, check, now)
            self.flush(now)

    def _publish(self, round: int) -> Manifest:
        version = self.protocol.learning.publish(self.index, round)
        self._own.append(version)
        if len(self._own) > self.protocol.kept_snapshots:
            self.protocol.learning.release(self._own.popleft())
        self.seq += 1
        return self.protocol.manifest(self, version, self._degree)

    # Messages -------------------------------------------------------------------------------------------------------

    def receive(self, sender: int, message: Message) -> None:
        """Take in a message from the wire."""
        core = self.core
        if core is None:
            return
        if type(message) is Records:
            self.protocol.world.directory.receive(self.index, sender, message)
            return
        now = self.protocol.queue.now
        core.receive_message(message, self.protocol.names[sender], now)
        self.flush(now)

    def transfer_broke(self, provider: int, request_id: int) -> None:
        """The bytes of a snapshot stopped coming."""
        if self.core is not None:
            now = self.protocol.queue.now
            self.core.fetch_failed(self.protocol.names[provider], request_id, now)
            self.flush(now)

    def link_up(self, other: int) -> None:
        """A link stands."""
        if self.core is not None:
            now = self.protocol.queue.now
            self.protocol.world.directory.link_up(self.index, other)
            self.core.link_up(self.protocol.names[other], now)
            self.flush(now)

    def link_down(self, other: int) -> None:
        """A link is known to be gone."""
        if self.core is not None:
            now = self.protocol.queue.now
            self.protocol.world.directory.link_down(self.index, other)
            self.core.link_down(self.protocol.names[other], now)
            self.flush(now)

    def wake(self, planned: float) -> None:
        """A timer of the core is due."""
        if planned != self._armed_at or self.core is None:
            return
        self._armed_at = float("inf")
        now = self.protocol.queue.now
        self.core.handle_timer(now)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Act on what the core has to say; after every change to it."""
        core, protocol = self.core, self.protocol
        assert core is not None
        if core.events:
            self._act(core, now)
        for peer, message in core.messages_to_send(now):
            if type(message) is Model:
                self._upload(protocol.index_of[peer], message)
            else:
                protocol.wire.send(self.index, protocol.index_of[peer], message)
        due = core.get_timer()
        if due is not None and due < self._armed_at:
            self._armed_at = due
            protocol.queue.at(due, self.wake, due)

    def _act(self, core: ExchangeCore, now: float) -> None:
        while (event := core.next_event()) is not None:
            kind = type(event)
            if kind is CheckModel:
                self._arrived(core, event, now)  # type: ignore[arg-type]  # its type was looked at
            elif kind is ModelDropped:
                self._drop(event.manifest)  # type: ignore[union-attr]  # ditto
            elif kind is RoundReady:
                self._mix(core, event, now)  # type: ignore[arg-type]  # ditto
            elif kind is Misbehaved:
                self.protocol.punish(self.index, event)  # type: ignore[arg-type]  # ditto

    def _upload(self, to: int, model: Model) -> None:
        """Answer a `Want`: a transfer, unless too many are going on (as `peer/net/serve.py`)."""
        protocol, uploads = self.protocol, self._uploads
        mine = uploads.get(to, 0)
        if uploads and (mine >= MAX_UPLOADS_PER_PEER or sum(uploads.values()) >= MAX_UPLOADS):
            protocol.wire.send(self.index, to, Refuse(model.request_id, "busy"))
            return
        protocol.learning.hold(int.from_bytes(model.sha256))
        uploads[to] = mine + 1
        upload = _Upload(self, to, model, self._life)
        size_bytes = model.size_bytes - model.offset
        protocol.wire.transfer(self.index, to, size_bytes, upload.ended, upload.arrived, upload.broke)

    def upload_ended(self, to: int, life: int) -> None:
        """The bytes are on their way, or will never be: there is room for another upload."""
        if life == self._life:
            left = self._uploads[to] - 1
            if left:
                self._uploads[to] = left
            else:
                del self._uploads[to]

    # Models ---------------------------------------------------------------------------------------------------------

    def _arrived(self, core: ExchangeCore, check: CheckModel, now: float) -> None:
        """A snapshot is here; the trainer looks at it when it is not busy with local steps, as in the daemon."""
        version = self.protocol.version_of(check.manifest.sha256)
        self.protocol.learning.hold(version)
        self._held.add(version)
        if self._is_training:
            self._unchecked.append(check)
        else:
            self._check(core, check, now)

    def _check(self, core: ExchangeCore, check: CheckModel, now: float) -> None:
        version = self.protocol.version_of(check.manifest.sha256)
        reason = self.protocol.learning.verdict(self.index, version)
        self.protocol.watch.checked(self.index, self.protocol.index_of[check.peer], version, reason)
        core.checked(check.peer, check.manifest, reason, now)

    def _drop(self, manifest: Manifest) -> None:
        version = self.protocol.version_of(manifest.sha256)
        self._held.remove(version)
        self.protocol.learning.release(version)

    def _mix(self, core: ExchangeCore, ready: RoundReady, now: float) -> None:
        protocol = self.protocol
        heard = [
            Heard(
                protocol.index_of[slot.peer],
                protocol.version_of(slot.manifest.sha256),
                slot.age_rounds,
                slot.manifest.steps,
                slot.manifest.degree,
                slot.manifest.samples,
                slot.manifest.seq,
            )
            for slot in sorted(ready.slots, key=_author)
        ]
        protocol.watch.mixed(self.index, ready, heard)
        round, step = divmod(ready.round, protocol.gossip_steps)
        protocol.learning.mix(
            self.index,
            round,
            self._degree,
            heard,
            last=step == protocol.gossip_steps - 1,
            catching_up=ready.next_round > ready.round + 1,
        )
        core.mixed()
        self.round = core.round
        protocol.round_done(self)
        if core.phase is Phase.TRAINING:
            next_at = max(now, self._began_at + protocol.interval_s)
            protocol.queue.at(next_at, self.begin_round, self._life)
        else:
            core.publish_final(self._publish(round), now)

    def ends_by(self, deadline_s: float, interval_s: float) -> float:
        """Return when the round that is going on is over at the latest."""
        return max(self._trained_at + deadline_s, self._began_at + interval_s)


class _Upload:
    """A snapshot on its way to a peer."""

    __slots__ = ("_life", "_model", "_shell", "_to")

    def __init__(self, shell: RoundPeer, to: int, model: Model, life: int) -> None:
        self._shell, self._to, self._model, self._life = shell, to, model, life

    def ended(self) -> None:
        self._shell.upload_ended(self._to, self._life)

    def arrived(self) -> None:
        protocol = self._shell.protocol
        protocol.peers[self._to].receive(self._shell.index, self._model)
        protocol.learning.release(int.from_bytes(self._model.sha256))

    def broke(self) -> None:
        protocol = self._shell.protocol
        protocol.learning.release(int.from_bytes(self._model.sha256))
        protocol.peers[self._to].transfer_broke(self._shell.index, self._model.request_id)


def _author(slot: object) -> bytes:
    author: bytes = slot.manifest.author  # type: ignore[attr-defined]  # a MixSlot
    return author
