"""`peer.toml`: what concerns this device only. Peers need not agree on any of it.

Every table and setting may be left out. A relative path is relative to the folder of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from peer.config.knobs import Section, knob
from peer.config.loopback import parse_loopback
from peer.config.profiles import PROFILES, ProfileName, Timing

Multiaddr = Annotated[str, knob("An address as libp2p writes it.", max_length=256, pattern="^/")]
_Seconds = Annotated[float, knob("", ge=0.01, le=86_400)]

GIB = 1024**3


class IdentitySettings(Section, frozen=True, kw_only=True):
    """Who this device is."""

    key: Annotated[Path, knob("File with the device's private key, mode 0600. Made by `murmuration init`.")] = Path(
        "identity.key"
    )


class SwarmSettings(Section, frozen=True, kw_only=True):
    """Which swarm it joins, and through whom."""

    file: Annotated[Path, knob("The swarm file; all members have the same one.")] = Path("swarm.toml")
    bootstrap: Annotated[
        tuple[Multiaddr, ...],
        knob(
            "Addresses of members to begin with; one that answers is enough, the others are learned from it. "
            "Empty: wait to be dialed.",
            example=["/ip4/192.0.2.1/tcp/4001"],
            max_length=32,
        ),
    ] = ()


class NetSettings(Section, frozen=True, kw_only=True):
    """Listening, links and time limits."""

    listen: Annotated[
        tuple[Multiaddr, ...],
        knob(
            "Addresses to listen on; port 0 takes a free one. Other devices reach this one only when it listens on "
            "an address that they can route to, e.g. /ip4/0.0.0.0/tcp/4001.",
            max_length=8,
        ),
    ] = ("/ip4/127.0.0.1/tcp/0",)
    profile: Annotated[
        ProfileName,
        knob("The network between the peers; sets the defaults of the time limits below (table: docs/settings.md)."),
    ] = "lan"
    max_links: Annotated[
        int,
        knob(
            "Most links to other members at once; wanted neighbours come first.",
            ge=1,
            le=4096,
            larger="more memory (some 100 kB a link) and more heartbeats",
            smaller="the graph of the swarm may ask for more neighbours than are allowed",
        ),
    ] = 32
    dial_backoff_s: Annotated[
        _Seconds | None,
        knob(
            "First wait before an address that failed is dialed again; doubles with each failure, half of it random.",
            unit="s",
            larger="a peer that was briefly away is found later",
            smaller="more dials to peers that are gone",
            example=0.5,
        ),
    ] = None
    dial_backoff_max_s: Annotated[
        _Seconds | None,
        knob(
            "Longest wait between two dials of one address.",
            unit="s",
            larger="a peer that returns after days is found later",
            smaller="more dials to peers that are gone",
            example=30.0,
        ),
    ] = None
    keepalive_s: Annotated[
        _Seconds | None,
        knob(
            "A link on which nothing was sent for this long carries a ping; one that was silent for three times as "
            "long is dead.",
            unit="s",
            larger="a vanished neighbour is noticed later",
            smaller="more pings; a short stall looks like death",
            example=10.0,
        ),
    ] = None
    request_timeout_s: Annotated[
        _Seconds | None,
        knob(
            "Time for a dial, and for the first answer to a request.",
            unit="s",
            larger="an unresponsive peer holds a slot for longer",
            smaller="slow honest peers fail",
            example=10.0,
        ),
    ] = None
    stall_s: Annotated[
        _Seconds | None,
        knob(
            "A transfer that does not progress for this long is given up.",
            unit="s",
            larger="a peer that stalls on purpose holds a slot for longer",
            smaller="transfers fail on a congested line",
            example=10.0,
        ),
    ] = None
    handshake_s: Annotated[
        _Seconds | None,
        knob(
            "Time for an accepted connection to prove its identity, name a protocol and greet.",
            unit="s",
            larger="idle connections hold slots for longer",
            smaller="slow honest devices cannot connect",
            example=10.0,
        ),
    ] = None

    @property
    def timing(self) -> Timing:
        """The time limits that hold: those of the profile, with the ones set here in their place."""
        chosen = {name: getattr(self, name) for name in Timing.__struct_fields__ if getattr(self, name) is not None}
        return msgspec.structs.replace(PROFILES[self.profile], **chosen)

    def __post_init__(self) -> None:
        if self.timing.dial_backoff_s > self.timing.dial_backoff_max_s:
            raise ValueError(
                f"dial_backoff_s: {self.timing.dial_backoff_s:g} is larger than "
                f"dial_backoff_max_s ({self.timing.dial_backoff_max_s:g})"
            )


class StoreSettings(Section, frozen=True, kw_only=True):
    """Where snapshots and checkpoints live."""

    folder: Annotated[Path, knob("State directory of this device; made when missing.")] = Path("state")
    max_bytes: Annotated[
        int,
        knob(
            "Most disk that snapshots and checkpoints may use. Needed: about (2 * keep + 2 + neighbours) models.",
            unit="bytes",
            ge=1024**2,
            le=10**18,
            larger="more disk",
            smaller="with too little, nothing is saved, and `murmuration status` says so",
        ),
    ] = 2 * GIB
    checkpoint_every_rounds: Annotated[
        int,
        knob(
            "A checkpoint is written every so many rounds.",
            unit="rounds",
            ge=1,
            le=1_000_000,
            larger="more rounds to repeat after a crash",
            smaller="more writing: one model (and its optimizer state) each",
        ),
    ] = 1
    keep: Annotated[
        int,
        knob(
            "Checkpoints and own snapshots to keep; older ones are removed. Two at least: a neighbour may still fetch "
            "the last snapshot while the next one is written.",
            ge=2,
            le=1000,
            larger="more disk",
            smaller="fewer to fall back to when one is damaged",
        ),
    ] = 3


class TrainSettings(Section, frozen=True, kw_only=True):
    """The trainer process."""

    enabled: Annotated[
        bool, knob("false: a relay or bootstrap node; it neither trains nor is anybody's neighbour.")
    ] = True
    device: Annotated[
        str,
        knob(
            "Where torch computes: auto (CUDA where present, else cpu), cpu, mps, cuda or cuda:<number>.",
            pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$",
        ),
    ] = "auto"
    threads: Annotated[
        int,
        knob(
            "Threads of torch on the CPU.",
            ge=1,
            le=1024,
            larger="faster only for large models on idle cores; ten times slower when the cores are busy",
            smaller="leaves cores to others",
        ),
    ] = 1
    hang_timeout_s: Annotated[
        float,
        knob(
            "A trainer that gives no sign of life for this long is killed and started again.",
            unit="s",
            ge=1.0,
            le=86_400,
            larger="a hang costs more time",
            smaller="one slow step (loading data, compiling kernels) looks like a hang",
        ),
    ] = 120.0
    restart_backoff_s: Annotated[
        float,
        knob(
            "First wait before a crashed trainer is started again; doubles with each crash in a row.",
            unit="s",
            ge=0.01,
            le=86_400,
            larger="a single crash costs more time",
            smaller="a trainer that always crashes uses more CPU",
        ),
    ] = 1.0
    restart_backoff_max_s: Annotated[
        float,
        knob(
            "Longest wait before a crashed trainer is started again.",
            unit="s",
            ge=0.01,
            le=86_400,
            larger="a cause that goes away by itself (memory, GPU in use) is found out later",
            smaller="a trainer that always crashes uses more CPU",
        ),
    ] = 60.0

    def __post_init__(self) -> None:
        if self.restart_backoff_s > self.restart_backoff_max_s:
            raise ValueError(
                f"restart_backoff_s: {self.restart_backoff_s:g} is larger than "
                f"restart_backoff_max_s ({self.restart_backoff_max_s:g})"
            )


class DataSettings(Section, frozen=True, kw_only=True):
    """This device's private share of a public data set, for tasks that split one among the peers."""

    how: Annotated[
        Literal["dirichlet", "iid"],
        knob("How the set is split: by Dirichlet-distributed label shares, or at random."),
    ] = "dirichlet"
    alpha: Annotated[
        float,
        knob(
            "Concentration of the Dirichlet split. The label shares of a peer are Dirichlet(alpha, ..., alpha).",
            gt=0.0,
            le=1e6,
            larger="peers have more similar data",
            smaller="peers have fewer labels each",
        ),
    ] = 0.5
    of: Annotated[int, knob("Into how many shares the set is split.", ge=1, le=1_000_000)] = 1
    index: Annotated[int, knob("Which share is this device's: 0 to `of` - 1.", ge=0, le=999_999)] = 0
    seed: Annotated[int, knob("Seed of the split; the same on all devices that split one set.", ge=0, le=2**53)] = 1

    def __post_init__(self) -> None:
        if self.index >= self.of:
            raise ValueError(f"index: {self.index} must be smaller than of ({self.of})")


class ControlSettings(Section, frozen=True, kw_only=True):
    """How programs on this device ask the daemon."""

    socket: Annotated[
        Path,
        knob("Unix socket of the daemon, mode 0600; `murmuration status` uses it. At most 107 bytes long."),
    ] = Path("control.sock")
    http: Annotated[
        str,
        knob(
            "Address on loopback for Prometheus metrics, health and status; port 0 takes a free one. "
            'Empty: off. Whoever may use this device may read it. Example: "127.0.0.1:9464".',
            max_length=64,
        ),
    ] = ""

    def __post_init__(self) -> None:
        if self.http:
            try:
                parse_loopback(self.http)
            except ValueError as error:
                raise ValueError(f"http: {error}") from None


class LogSettings(Section, frozen=True, kw_only=True):
    """What the daemon writes to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], knob("Least severe event that is written.")] = "info"
    format: Annotated[
        Literal["auto", "json", "console"],
        knob("json: one object a line. console: for eyes. auto: console on a terminal, else json."),
    ] = "auto"


class PeerFile(Section, frozen=True, kw_only=True):
    """The whole of `peer.toml`."""

    identity: IdentitySettings = IdentitySettings()
    swarm: SwarmSettings = SwarmSettings()
    net: NetSettings = NetSettings()
    store: StoreSettings = StoreSettings()
    train: TrainSettings = TrainSettings()
    data: DataSettings = DataSettings()
    control: ControlSettings = ControlSettings()
    log: LogSettings = LogSettings()
