"""One daemon, put together: the only place where every part meets.

    transport ─ links ─ node (cores) ─ learning ─ executor (trainer process)
                          │                │
                          └── reporting ───┴──▶ control (status, metrics)

Start: take the state directory, count the start (incarnation), listen, open the control socket, then the network and
the trainer side by side. Stop (cancellation): the trainer saves and ends while the network still serves; then a
goodbye; then everything else. A daemon without trainer (`train.enabled = false`) leaves out the right half.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import structlog
import trio

from peer.address_book import AddressBook
from peer.config.peer_file import PeerFile
from peer.config.swarm_file import SwarmFile, swarm_id
from peer.control.http import ControlAddress, serve_control
from peer.control.metrics import Metrics
from peer.core.backoff import Backoff
from peer.core.exchange import ExchangeCore
from peer.core.exchange_events import ExchangeConfig
from peer.core.membership import MembershipConfig, MembershipCore
from peer.core.messages import Hello, Manifest, PeerRecord
from peer.errors import ConfigError
from peer.identity import Identity, is_authentic, peer_id_of, signed
from peer.incarnation import SEQ_PER_INCARNATION, next_incarnation
from peer.learning import Learning
from peer.lock import only_one_daemon
from peer.net.libp2p_host import Libp2pTransport
from peer.net.limits import Limits
from peer.net.link import LinkSettings
from peer.net.links import Links
from peer.net.pace import Pace
from peer.net.transport import Transport
from peer.node import Node
from peer.reporting import Reporting
from peer.train.executor import Executor, Opened, Trained
from peer.train.process import ProcessExecutor
from peer.train.settings import TrainConfig
from peer.version import AGENT
from topology.families import registry as families

ADDRESS_BOOK_PAUSE_S = 2.0  # after a change of the view, so that a swarm that comes up costs one write and not many

log = structlog.get_logger()


async def run_daemon(peer: PeerFile, swarm: SwarmFile, identity: Identity) -> None:
    """Run until cancelled. Raises `ConfigError` when a setting turns out to be unusable, `StoreError` for the disk."""
    with only_one_daemon(peer.store.folder / "daemon.lock", "store.folder"):
        transport = Libp2pTransport(identity.seed, peer.net.listen, _limits(peer))
        executor = ProcessExecutor(train_config(peer, swarm, identity), hang_timeout_s=peer.train.hang_timeout_s)
        await Daemon(peer, swarm, identity, transport, executor if peer.train.enabled else None).run()


def train_config(peer: PeerFile, swarm: SwarmFile, identity: Identity) -> TrainConfig:
    """Return what the trainer process is told."""
    return TrainConfig(
        swarm=swarm_id(swarm),
        seed=swarm.seed,
        node=identity.peer_id,
        task=swarm.task,
        step=swarm.method.step,
        mixer=swarm.method.mixer,
        weights=swarm.method.weights,
        algorithm=swarm.method.algorithm,
        outer=swarm.method.outer,
        selector=swarm.method.selector,
        total_rounds=swarm.rounds.total,
        data=peer.data,
        local_epochs=swarm.method.local_epochs,
        local_steps=swarm.method.local_steps,
        batch_size=swarm.method.batch_size,
        device=peer.train.device,
        threads=peer.train.threads,
        folder=_snapshot_folder(peer),
        max_bytes=peer.store.max_bytes,
        keep=peer.store.keep,
        checkpoint_every_rounds=peer.store.checkpoint_every_rounds,
        norm_cap_factor=swarm.limits.norm_cap_factor,
    )


class Daemon:
    """The parts of one daemon and the order in which they start and stop."""

    def __init__(
        self, peer: PeerFile, swarm: SwarmFile, identity: Identity, transport: Transport, executor: Executor | None
    ) -> None:
        self._peer, self._swarm, self._identity = peer, swarm, identity
        self._swarm_id = swarm_id(swarm)
        self._transport = transport
        self._rng = random.Random(f"{identity.peer_id}/retries")
        self._incarnation_file = peer.store.folder / "incarnation"
        peer.store.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._incarnation = next_incarnation(self._incarnation_file)
        self._num_published = 0
        self._address_book = AddressBook(peer.store.folder / "addresses.json")
        self._links_scope = trio.CancelScope()
        self._links_over: trio.Event | None = None  # None: not begun
        self._family = families.build(swarm.topology.name, swarm.topology.params)

        timing = peer.net.timing
        self._links = Links(
            transport,
            Hello(self._swarm_id, agent=AGENT),
            rng=self._rng,
            settings=LinkSettings(
                handshake_s=timing.handshake_s,
                keepalive_s=timing.keepalive_s,
                request_s=timing.request_timeout_s,
                dial_backoff_s=timing.dial_backoff_s,
                dial_backoff_max_s=timing.dial_backoff_max_s,
                max_links=peer.net.max_links,
            ),
        )
        self.node = Node(
            transport=transport,
            links=self._links,
            pace=Pace(stall_s=timing.stall_s),
            membership=self._make_membership(trains=executor is not None),
            family=self._family,
            seed=swarm.seed,
            inbox_folder=peer.store.folder / "inbox",
            on_incarnation_behind=self._start_new_incarnation,
        )
        self.learning = self._make_learning(executor) if executor is not None else None
        self.metrics = Metrics()
        self.reporting = Reporting(
            peer=peer,
            swarm=swarm,
            peer_id=identity.peer_id,
            node=self.node,
            transport=transport,
            learning=self.learning,
            executor=executor,
            metrics=self.metrics,
        )

    async def run(self, *, task_status: trio.TaskStatus[ControlAddress] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; `started` with the control address once the daemon can be reached and asked."""
        async with trio.open_nursery() as nursery:
            control: ControlAddress = await nursery.start(
                serve_control, self._peer.control, self.reporting.status, self.metrics
            )
            self.reporting.http = control.http
            # Cancellation stops the learning first; the network goes on until the trainer has saved.
            network = trio.CancelScope(shield=True)
            try:
                await nursery.start(self._serve_network, network)
                log.info(
                    "daemon_started",
                    peer=self._identity.peer_id,
                    swarm=self._swarm.name,
                    swarm_id=self._swarm_id.hex()[:16],
                    addresses=list(self._transport.addresses()),
                    control=str(control.unix_socket),
                    http=control.http,
                    incarnation=self._incarnation,
                )
                task_status.started(control)
                if self.learning is not None:
                    await self.learning.run()
                else:
                    await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await self._say_goodbye()
                network.cancel()
            nursery.cancel_scope.cancel()

    async def _serve_network(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._transport.run)
                self.node.membership.update_own(addresses=tuple(self._transport.addresses()))
                await nursery.start(self._serve_links)
                await nursery.start(self.node.run)
                self._links.add_bootstrap([*self._peer.swarm.bootstrap, *self._address_book.read()])
                nursery.start_soon(self._keep_address_book)
                task_status.started()

    async def _keep_address_book(self) -> None:
        while True:
            members = self.node.membership.members()
            others = {peer: record.addresses for peer, record in members.items() if peer != self._identity.peer_id}
            if others:  # when all are gone, where they were is all there is
                await trio.to_thread.run_sync(self._address_book.write, others)
            await self.node.view_changed.wait()
            await trio.sleep(ADDRESS_BOOK_PAUSE_S)

    async def _serve_links(  # noqa: ASYNC128  # Links.run says that it has started
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self._links_over = trio.Event()
        try:
            with self._links_scope:
                await self._links.run(task_status=task_status)
        finally:
            self._links_over.set()

    async def _say_goodbye(self) -> None:
        """Tell the swarm, and end the links while the transport still runs; `Links` bounds how long that takes."""
        if self._links_over is None:
            return
        self.node.leave()
        self._links_scope.cancel()
        await self._links_over.wait()

    # Building the parts ----------------------------------------------------------------------------------------

    def _make_membership(self, *, trains: bool) -> MembershipCore:
        knobs = self._swarm.membership
        return MembershipCore(
            MembershipConfig(
                self._swarm_id,
                heartbeat_s=knobs.heartbeat_s,
                timeout_s=knobs.timeout_s,
                max_members=self._swarm.limits.max_members,
            ),
            PeerRecord(self._identity.public_key, self._swarm_id, self._incarnation, 0, trains=trains),
            own_id=self._identity.peer_id,
            sign=lambda record: signed(self._identity, record),
            author_of=lambda record: peer_id_of(record.author) if is_authentic(record) else None,
            peer_id_of=peer_id_of,
            now=trio.current_time(),
        )

    def _make_learning(self, executor: Executor) -> Learning:
        train = self._peer.train
        return Learning(
            self.node,
            executor,
            make_exchange=self._make_exchange,
            sign_snapshot=self._sign_snapshot,
            start_members=self._swarm.rounds.start_members,
            interval_s=self._swarm.rounds.interval_s,
            restart=Backoff(train.restart_backoff_s, train.restart_backoff_max_s),
            rng=self._rng,
            on_round=lambda: self.reporting.note_round(),
        )

    def _make_exchange(self, opened: Opened) -> ExchangeCore:
        rounds, timing = self._swarm.rounds, self._peer.net.timing
        if opened.model_bytes > self._swarm.limits.model_max_bytes:
            raise ConfigError(
                f"{self._peer.swarm.file}: limits.model_max_bytes is {self._swarm.limits.model_max_bytes}, "
                f"but a snapshot of this task has {opened.model_bytes} bytes"
            )
        self._opened = opened
        return ExchangeCore(
            ExchangeConfig(
                self._swarm_id,
                opened.space,
                max_model_bytes=self._swarm.limits.model_max_bytes,
                total_rounds=rounds.total,
                quorum=rounds.quorum,
                deadline_s=rounds.deadline_s,
                max_age_rounds=rounds.max_age_rounds,
                request_timeout_s=timing.request_timeout_s + timing.stall_s,
                fetch_retry=Backoff(timing.dial_backoff_s, timing.dial_backoff_max_s),
            ),
            first_round=opened.round,
            is_authentic=lambda manifest, sender: peer_id_of(manifest.author) == sender and is_authentic(manifest),
            rng=self._rng,
        )

    def _sign_snapshot(self, trained: Trained, round: int, degree: int) -> Manifest:
        self._num_published += 1
        return signed(
            self._identity,
            Manifest(
                swarm=self._swarm_id,
                space=self._opened.space,
                author=self._identity.public_key,
                seq=self._incarnation * SEQ_PER_INCARNATION + self._num_published,
                round=round,
                steps=trained.steps,
                samples=self._opened.samples,
                degree=degree,
                size_bytes=trained.size_bytes,
                sha256=trained.sha256,
                produced_ms=time.time_ns() // 1_000_000,
            ),
        )

    def _start_new_incarnation(self, seen: int) -> None:
        """Others remember a longer life of this peer than its state directory does: go on above what they saw."""
        self._incarnation = next_incarnation(self._incarnation_file, above=seen)
        self._num_published = 0
        log.warning("state_directory_is_older_than_this_peer", seen=seen, incarnation=self._incarnation)
        self.node.membership.update_own(incarnation=self._incarnation)


def _snapshot_folder(peer: PeerFile) -> Path:
    return peer.store.folder / "snapshots"


def _limits(peer: PeerFile) -> Limits:
    timing = peer.net.timing
    return Limits(
        handshake_s=timing.handshake_s,
        dial_s=timing.request_timeout_s,
        negotiate_s=timing.handshake_s,
        keepalive_s=timing.keepalive_s,
    )
