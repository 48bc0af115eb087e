"""One process of `benchmarks.transfer`: serves its snapshots in three ways, and gets those of the other on command."""

from __future__ import annotations

import datetime
import hashlib
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from peer.core.messages import Model, PeerId, Refuse, Want
from peer.net.fetch import fetch
from peer.net.libp2p_host import Libp2pTransport
from peer.net.serve import serve_models

PIECE = 256 * 1024  # as the model protocol reads and writes
Handler = Callable[[trio.abc.Stream], Awaitable[None]]


class TransferPeer:
    """Files by hash, three servers, and the asker's side of each."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._files: dict[bytes, Path] = {}
        self._transport = Libp2pTransport(seed.to_bytes(32, "big"), ["/ip4/127.0.0.1/tcp/0"])
        serve_models(self._transport, self._provide)
        self._other: dict[str, Any] = {}
        self._hashes: dict[str, str] = {}  # of the other's files, by size
        self._server_context = _server_context(folder)
        self._client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client_context.check_hostname = False
        self._client_context.verify_mode = ssl.CERT_NONE

    async def run(self) -> None:
        """Serve, and obey standard input until it ends."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._transport.run)
            tcp = await nursery.start(trio.serve_tcp, self._serve_tcp, 0)
            tls = await nursery.start(trio.serve_ssl_over_tcp, self._serve_tcp, 0, self._server_context)
            ports = [listeners[0].socket.getsockname()[1] for listeners in (tcp, [tls[0].transport_listener])]
            _say(address=self._transport.addresses()[0], tcp=ports[0], tls=ports[1], seed=self._seed)
            async for line in trio.wrap_file(sys.stdin):
                command = json.loads(line)
                _say(**await getattr(self, f"_{command.pop('do')}")(**command))
            nursery.cancel_scope.cancel()

    # Commands

    async def _meet(self, hello: dict[str, Any]) -> dict[str, Any]:
        self._other = hello
        await self._transport.dial(hello["address"])
        return {}

    async def _make(self, size_mb: int) -> dict[str, Any]:
        """Write a file of this size; both processes can tell the hash of either's."""
        path = self._folder / f"{size_mb}-own"
        with path.open("wb") as file:
            for piece in _content(self._seed, size_mb):
                file.write(piece)
        self._files[_sha256(self._seed, size_mb)] = path
        self._hashes[str(size_mb)] = _sha256(self._other["seed"], size_mb).hex()
        return {}

    async def _usage(self) -> dict[str, Any]:
        """CPU seconds so far, resident memory now, and its peak since the last call."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak (Linux)
        return {
            "cpu_s": time.process_time(),
            "rss_mb": int(status["VmRSS"].split()[0]) / 1000,
            "peak_mb": int(status["VmHWM"].split()[0]) / 1000,
        }

    async def _get(self, way: str, size_mb: int) -> dict[str, Any]:
        sha256 = bytes.fromhex(self._hashes[str(size_mb)])
        destination = self._folder / "received"
        if way == "murmuration":
            peer = PeerId(self._other["address"].rpartition("/")[2])
            await fetch(self._transport, peer, Want(1, sha256), size_mb * 1_000_000, destination)
        else:
            await self._get_raw(way, sha256, destination)
        destination.unlink()
        return {}

    # The three ways

    def _provide(self, peer: PeerId, want: Want) -> tuple[Model, Path] | Refuse:  # noqa: ARG002  # whoever asks
        path = self._files[want.sha256]
        return Model(want.request_id, want.sha256, path.stat().st_size), path

    async def _serve_tcp(self, stream: trio.abc.Stream) -> None:
        wanted = await stream.receive_some(32)
        with self._files[bytes(wanted)].open("rb", buffering=0) as file:
            while piece := await trio.to_thread.run_sync(file.read, PIECE):
                await stream.send_all(piece)

    async def _get_raw(self, way: str, sha256: bytes, destination: Path) -> None:
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", self._other["tls" if "TLS" in way else "tcp"])
        if "TLS" in way:
            stream = trio.SSLStream(stream, self._client_context, https_compatible=True)
        digest = hashlib.sha256()
        with destination.open("xb", buffering=0) as file:

            def keep(piece: bytes) -> None:
                file.write(piece)
                digest.update(piece)

            await stream.send_all(sha256)
            while piece := await stream.receive_some(PIECE):
                await trio.to_thread.run_sync(keep, bytes(piece))
        assert digest.digest() == sha256
        await trio.aclose_forcefully(stream)


def _content(seed: int, size_mb: int) -> list[bytes]:
    """Bytes that compress to nothing and that both processes can make: they know each other's seed."""
    block = hashlib.shake_256(f"{seed}/{size_mb}".encode()).digest(1_000_000)
    return [block] * size_mb


def _sha256(seed: int, size_mb: int) -> bytes:
    digest = hashlib.sha256()
    for piece in _content(seed, size_mb):
        digest.update(piece)
    return digest.digest()


def _server_context(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    pem = folder / "tls.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def _say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    trio.run(TransferPeer(Path(sys.argv[1]), int(sys.argv[2])).run)
