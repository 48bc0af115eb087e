"""One link: a stream on which both ends have said Hello, until either says Goodbye, breaks a rule, or falls silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from peer.core.messages import Goodbye, Hello, LinkMessage, PeerId, Records
from peer.errors import FramingError, NetError
from peer.net.framing import MessageReader, encode_frame, send_message
from peer.net.limits import CLEANUP_S
from peer.net.outbox import Outbox
from peer.net.transport import Stream

LINK_PROTOCOL: Final = "/murmuration/link/1"
PING = encode_frame(Records(()))
SILENT_AFTER = 3  # keepalive periods; one or two lost pings are no death


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Knobs of the links; times in seconds, with the defaults of a LAN."""

    handshake_s: float = 10.0  # from opening the stream to the remote's Hello
    keepalive_s: float = 10.0  # nothing to send for this long: ping; nothing heard for three times this: dead
    request_s: float = 10.0  # for a dial
    dial_backoff_s: float = 0.5  # first wait after a failed dial, doubling
    dial_backoff_max_s: float = 30.0
    max_links: int = 32
    ban_s: float = 60.0  # after a broken rule: dearer for the sender than for us, and a repaired peer is back soon
    avoid_s: float = 3600.0  # before a peer of another swarm or version is dialed again
    goodbye_s: float = 1.0  # for farewells
    max_events: int = 64  # that wait to be read by the owner; beyond, links are not read


class GreetingError(Exception):
    """There will be no link. `fault` is the kind of broken rule, empty when none was broken."""

    def __init__(self, reason: str, fault: str = "") -> None:
        super().__init__(reason)
        self.fault = fault


class Link:
    """A stream between two greeted peers; made by `greet`, run by `serve`."""

    def __init__(self, stream: Stream, reader: MessageReader[LinkMessage], initiated: bool, keepalive_s: float) -> None:
        self.peer: PeerId = stream.peer
        self.initiated = initiated
        self.up_since = trio.current_time()
        self.outbox = Outbox()
        self.reason = ""  # why it ended
        self.fault = ""  # the broken rule, if that was why
        self.announced = trio.Event()  # the owner knows; shared with a link that takes this one's place
        self.predecessor: Link | None = None  # whose end the owner has to hear of first
        self.replaced = trio.Event()
        self.over = trio.Event()
        self._stream = stream
        self._reader = reader
        self._keepalive_s = keepalive_s
        self._farewell: bytes | None = None
        self._drain_s = 0.0
        self._scope = trio.CancelScope()

    async def serve(self, on_message: Callable[[LinkMessage], Awaitable[None]]) -> None:
        """Send what is in the outbox and hand over what comes, until the link ends. Raises nothing but `Cancelled`."""
        try:
            async with trio.open_nursery() as nursery:
                with self._scope:
                    nursery.start_soon(self._write)
                    await self._read(on_message)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):  # neither blocks
                await (self._stream.aclose() if self._farewell is not None else self._stream.reset())

    def end(self, reason: str, fault: str = "") -> None:
        """End the link at once; the first reason given is kept."""
        if not self.reason:
            self.reason, self.fault = reason, fault
        self._scope.cancel()

    def say_goodbye(self, reason: str, drain_s: float = 0.0) -> None:
        """Send what is queued and Goodbye, then end; go on reading for up to `drain_s` what the remote had sent."""
        if self._farewell is None:
            self._farewell = encode_frame(Goodbye(reason))
            self._drain_s = drain_s
            self.reason = self.reason or reason
            self.outbox.wake()

    def hand_over_to(self, successor: Link) -> None:
        """Let another link of the same pair take this one's place: what waits to be sent goes with it."""
        successor.outbox, self.outbox = self.outbox, Outbox()
        successor.outbox.wake()
        successor.announced = self.announced
        successor.predecessor = self.predecessor
        self.replaced.set()

    async def _write(self) -> None:
        try:
            while True:
                data = await self._next_data()
                if data is None:
                    break
                with trio.fail_after(SILENT_AFTER * self._keepalive_s):
                    await self._stream.send_all(data)
            await self._stream.send_eof()
            self._scope.deadline = trio.current_time() + self._drain_s
        except NetError:
            self.end("broken")
        except trio.TooSlowError:
            self.end("stalled", fault="stalled")

    async def _next_data(self) -> bytes | None:
        """Return the next frames, a ping when there were none for a while, None after the farewell."""
        with trio.move_on_after(self._keepalive_s):
            while True:
                outbox = self.outbox  # may be exchanged while we wait
                if data := outbox.take():
                    return data
                if self._farewell is not None:
                    data, self._farewell = self._farewell, b""
                    return data or None
                await outbox.wait()
        return PING

    async def _read(self, on_message: Callable[[LinkMessage], Awaitable[None]]) -> None:
        try:
            while True:
                with trio.fail_after(SILENT_AFTER * self._keepalive_s):
                    message = await self._reader.receive()
                if message is None:
                    self.end("closed")
                elif isinstance(message, Goodbye):
                    self.end(f"goodbye:{message.reason}")
                elif isinstance(message, Hello):
                    self.end("second_hello", fault="bad_message")
                elif message != Records(()):
                    await on_message(message)
        except FramingError as error:
            self.end(error.kind, fault=error.kind)
        except NetError:
            self.end("broken")
        except trio.TooSlowError:
            self.end("silent")


async def greet(
    stream: Stream, hello: Hello, initiated: bool, settings: LinkSettings, refusal: Callable[[], str]
) -> Link:
    """Exchange Hellos: the initiator's first, so that the other can answer Goodbye when `refusal()` names a reason.

    Raises `GreetingError`; the stream is then closed.
    """
    reader = MessageReader[LinkMessage](stream, LinkMessage)
    is_polite = False  # the remote knows how it stands: nothing to reset
    try:
        with trio.fail_after(settings.handshake_s):
            if initiated:
                await send_message(stream, hello)
            message = await reader.receive()
            error = _judge(message, hello)
            if not initiated and error is None and (reason := refusal()):
                error = GreetingError(reason)
            elif not initiated and isinstance(message, Hello):
                await send_message(stream, hello)  # also to a stranger: it sees for itself what does not fit
            if error is not None and isinstance(message, Hello):
                await send_message(stream, Goodbye(str(error)))
        is_polite = True
        if error is not None:
            raise error
        return Link(stream, reader, initiated, settings.keepalive_s)
    except FramingError as error:
        raise GreetingError(error.kind, fault=error.kind) from error
    except NetError as error:
        raise GreetingError("broken") from error
    except trio.TooSlowError as error:
        raise GreetingError("stalled", fault="stalled") from error
    except GreetingError:
        await stream.aclose()
        raise
    finally:
        if not is_polite:
            with trio.CancelScope(deadline=trio.current_time() + CLEANUP_S, shield=True):
                await stream.reset()


def _judge(message: LinkMessage | None, ours: Hello) -> GreetingError | None:
    """Return what is wrong with the first message of a remote."""
    if message is None:
        return GreetingError("closed")
    if isinstance(message, Goodbye):
        return GreetingError(f"goodbye:{message.reason}")
    if not isinstance(message, Hello):
        return GreetingError("no_hello", fault="no_hello")
    if message.version != ours.version:
        return GreetingError("wrong_version", fault="wrong_version")
    if message.swarm != ours.swarm:
        return GreetingError("wrong_swarm", fault="wrong_swarm")
    return None


async def refuse(stream: Stream, reason: str, within_s: float) -> None:
    """Say Goodbye on a stream that becomes no link, and close it."""
    with trio.move_on_after(within_s), suppress(NetError):
        await send_message(stream, Goodbye(reason))
    await stream.aclose()
