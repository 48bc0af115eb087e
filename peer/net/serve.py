"""Giving snapshots to peers: `/murmuration/model/1`, the answering side.

One `Want` per stream, within a deadline; then the file in pieces of `PIECE_BYTES`, read in a thread while the
transport sends the piece before. Uploads are bounded in all and per peer (`Refuse("busy")` beyond), and a receiver
that does not read loses its stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import trio

from peer.core.messages import Model, PeerId, Refuse, Want
from peer.errors import FramingError, NetError
from peer.net.faults import FaultLog
from peer.net.fetch import MODEL_PROTOCOL, PIECE_BYTES, Offload
from peer.net.framing import MessageReader, send_message
from peer.net.pace import BLOCK_BYTES, Pace
from peer.net.transport import Stream, Transport

MAX_UPLOADS = 8
MAX_UPLOADS_PER_PEER = 2

Provider = Callable[[PeerId, Want], tuple[Model, Path] | Refuse]
"""Decides what a peer gets, at once. `request_id` and `offset` of its `Model` are those of the `Want`."""


class ModelServer:
    """Answers `Want`s; made by `serve_models`. `faults` counts broken rules by kind."""

    def __init__(
        self, provider: Provider, pace: Pace, max_uploads: int, max_uploads_per_peer: int, offload: Offload
    ) -> None:
        self._provider = provider
        self._pace = pace
        self._max_uploads = max_uploads
        self._max_uploads_per_peer = max_uploads_per_peer
        self._offload = offload
        self._fault_log = FaultLog("model_fault")
        self._uploads: Counter[PeerId] = Counter()
        self.faults: Counter[str] = self._fault_log.counts
        self.num_served = 0

    @property
    def num_uploads(self) -> int:
        """Uploads going on now."""
        return self._uploads.total()

    async def handle(self, stream: Stream) -> None:
        """Serve one stream."""
        try:
            with trio.fail_after(self._pace.stall_s):
                want = await MessageReader[Want](stream, Want).receive()
            if want is not None:
                await self._answer(stream, want)
        except FramingError as error:
            self._fault_log.note(error.kind, stream.peer, detail=str(error))
        except trio.TooSlowError:
            self._fault_log.note("stalled", stream.peer)
        except NetError:
            pass  # the remote left, or has enough

    async def _answer(self, stream: Stream, want: Want) -> None:
        if self.num_uploads >= self._max_uploads or self._uploads[stream.peer] >= self._max_uploads_per_peer:
            await self._refuse(stream, Refuse(want.request_id, "busy"))
            return
        self._uploads[stream.peer] += 1
        try:
            answer = self._provider(stream.peer, want)
            if isinstance(answer, Refuse):
                await self._refuse(stream, answer)
            else:
                await self._upload(stream, *answer)
        finally:
            self._uploads[stream.peer] -= 1
            if not self._uploads[stream.peer]:
                del self._uploads[stream.peer]

    async def _refuse(self, stream: Stream, refuse: Refuse) -> None:
        with trio.fail_after(self._pace.stall_s):
            await send_message(stream, refuse)
        await stream.aclose()

    async def _upload(self, stream: Stream, model: Model, path: Path) -> None:
        try:
            file = await self._offload(_open, path, model.offset)
        except OSError:  # evicted since the provider looked
            await self._refuse(stream, Refuse(model.request_id, "unknown"))
            return
        try:
            with trio.fail_after(self._pace.stall_s):
                await send_message(stream, model)
            left = model.size_bytes - model.offset
            while left > 0:
                piece = await self._offload(file.read, min(left, PIECE_BYTES))
                if not piece:
                    raise NetError(f"{path} is shorter than its manifest says")
                left -= len(piece)
                await self._send(stream, piece)
            await stream.aclose()
            self.num_served += 1
        finally:
            file.close()

    async def _send(self, stream: Stream, piece: bytes) -> None:
        view = memoryview(piece)
        for start in range(0, len(view), BLOCK_BYTES):
            with trio.fail_after(self._pace.block_s):
                await stream.send_all(view[start : start + BLOCK_BYTES])


def _open(path: Path, offset: int) -> BinaryIO:
    file = path.open("rb", buffering=0)
    file.seek(offset)
    return file


def serve_models(
    transport: Transport,
    provider: Provider,
    *,
    pace: Pace | None = None,
    max_uploads: int = MAX_UPLOADS,
    max_uploads_per_peer: int = MAX_UPLOADS_PER_PEER,
    offload: Offload = trio.to_thread.run_sync,
) -> ModelServer:
    """Register the model protocol on `transport`; uploads run in the transport's own tasks."""
    server = ModelServer(provider, pace or Pace(), max_uploads, max_uploads_per_peer, offload)
    transport.set_handler(MODEL_PROTOCOL, server.handle)
    return server
