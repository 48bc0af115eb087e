"""TCP with bounded reads and listeners that notice a port in use.

Replaces `libp2p/transport/tcp/tcp.py`, `libp2p/io/trio.py` and `libp2p/network/connection/raw_connection.py`:

- `TrioTCPStream.read(n)` hands `n` to the socket as it came from the remote, so eight bytes of garbage make the
  process allocate gigabytes before any handshake. Here a read takes at most `READ_BYTES` and the rest waits buffered.
- `TCPListener` sets SO_REUSEPORT: two daemons with one port both start, and each gets half of the connections.
- `TCPListener` lives in a trio system task, which nobody's nursery waits for, and in which an error ends the program.
- A write on a connection that we closed is silently swallowed there; here it raises as any other broken write.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import IListener, IRawConnection
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import THandler
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr
from multiaddr.exceptions import MultiaddrError

READ_BYTES = 256 * 1024  # one read of the socket; larger ones were not faster
BACKLOG = 128
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
OUT_OF_RESOURCES_S = 0.1  # as trio.serve_listeners does, which would close the connection when its handler returns
DNS_PROTOCOLS = ("dns", "dns4", "dns6")


def socket_address(address: Multiaddr) -> tuple[str, int]:
    """Return host (IP or name) and port of `/ip4|ip6|dns*/<host>/tcp/<port>[/p2p/<id>]`.

    Raises `OpenConnectionError` for any other form.
    """
    parts = [(protocol.name, value) for protocol, value in address.items()]
    names = [name for name, _ in parts]
    if names[:2] not in [[kind, "tcp"] for kind in ("ip4", "ip6", *DNS_PROTOCOLS)] or names[2:] not in ([], ["p2p"]):
        raise OpenConnectionError(f"{address}: only /ip4|ip6|dns*/<host>/tcp/<port> can be used here")
    return str(parts[0][1]), int(str(parts[1][1]))


def multiaddr_of(host: str, port: int) -> Multiaddr:
    """Return the address of a TCP endpoint; IPv4 addresses mapped into IPv6 are written as IPv4."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return Multiaddr(f"/ip{ip.version}/{ip}/tcp/{port}")


class TcpConnection(IRawConnection):
    """A TCP connection with a read buffer. One task reads, one writes."""

    def __init__(self, stream: trio.SocketStream, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self._stream = stream
        self._buffer = b""
        try:
            name = stream.socket.getpeername()
            self._remote: tuple[str, int] | None = (str(name[0]), int(name[1]))
        except OSError:  # the remote was gone before we looked
            self._remote = None

    async def read(self, n: int | None = None) -> bytes:
        """Read 1..`n` bytes, `b""` at the end of the stream. Raises `ConnectionClosedError` when it broke."""
        if not self._buffer:
            try:
                self._buffer = await self._stream.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionClosedError(str(error), transport="tcp") from error
        data, self._buffer = (self._buffer, b"") if n is None else (self._buffer[:n], self._buffer[n:])
        return data

    async def write(self, data: bytes) -> None:
        """Send all of `data`. Raises `ConnectionClosedError`."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(str(error), transport="tcp") from error

    async def close(self) -> None:
        """Close at once; never blocks."""
        self._stream.socket.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return IP and port of the remote."""
        return self._remote

    def get_transport_addresses(self) -> list[Multiaddr]:
        """Return the remote's address as a list of one multiaddr."""
        return [multiaddr_of(*self._remote)] if self._remote else []

    def get_connection_type(self) -> ConnectionType:
        """TCP is always direct."""
        return ConnectionType.DIRECT


class TcpListener(IListener):
    """Listening sockets; connections are handled in the nursery that `serve` is given."""

    def __init__(self, handler: THandler) -> None:
        self._handler = handler
        self._listeners: list[trio.SocketListener] = []

    async def listen(self, maddr: Multiaddr) -> None:
        """Bind and listen. Raises `OpenConnectionError` saying why not."""
        host, port = socket_address(maddr)
        try:
            self._listeners += await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        except OSError as error:
            reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise OpenConnectionError(reason) from error

    async def serve(self, nursery: trio.Nursery) -> None:
        """Accept connections until cancelled; each is the handler's, which outlives neither socket nor nursery."""
        async with trio.open_nursery() as accepting:
            for listener in self._listeners:
                accepting.start_soon(self._accept, listener, nursery)

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in OUT_OF_RESOURCES:
                    raise
                await trio.sleep(OUT_OF_RESOURCES_S)  # no file descriptor is free: connections wait in the backlog
                continue
            except trio.ClosedResourceError:
                return
            nursery.start_soon(self._handler, TcpConnection(stream, is_initiator=False))

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        """Return the bound addresses, with the ports that the system chose for port 0."""
        return tuple(multiaddr_of(*listener.socket.getsockname()[:2]) for listener in self._listeners)

    async def close(self) -> None:
        """Close the sockets."""
        self.close_now()

    def close_now(self) -> None:
        """Close the sockets."""
        for listener in self._listeners:
            listener.socket.close()
        self._listeners.clear()


class Tcp(TCP):
    """The library's TCP transport with our connections and listeners."""

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        """Connect to an IP address or a name, which the system resolves (the library asks DNS only, not /etc/hosts)."""
        try:
            host, port = socket_address(maddr)
            stream = await trio.open_tcp_stream(host, port)
        except (OSError, ValueError, MultiaddrError) as error:
            raise OpenConnectionError(_reason(error)) from error
        return TcpConnection(stream, is_initiator=True)

    def create_listener(self, handler_function: Callable[[TcpConnection], Awaitable[None]]) -> TcpListener:  # type: ignore[override]  # the library's listener type has no base that fits
        """Return a listener that is not bound yet."""
        return TcpListener(handler_function)  # type: ignore[arg-type]  # as above


def _reason(error: Exception) -> str:
    """Return the innermost system error as words: trio wraps the attempts of one name into a group."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return getattr(cause, "strerror", None) or str(cause)
