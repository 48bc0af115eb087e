"""Errors of the daemon.

    MurmurationError
    ├── ConfigError          a setting or file of the operator is wrong: one line, exit code 2
    │   └── IdentityError    the key file cannot be used
    ├── StoreError           the state directory does not hold what it should, or cannot be written
    │   └── IntegrityError   stored or received bytes are not what their hash says
    ├── NetError             a peer or the network failed; the operation can be tried again
    │   ├── FramingError     the remote broke the wire format: its stream is reset
    │   └── FetchError      a snapshot could not be fetched
    └── TrainerError         the trainer process crashed, hung or refused a command

Bytes from a peer never raise out of `peer.core`: they become a `Misbehaved` event there.
"""


class MurmurationError(Exception):
    """Base of all errors that Murmuration raises on purpose."""


class ConfigError(MurmurationError):
    """A setting or a file given by the operator cannot be used; the message is one line that says what to do."""


class IdentityError(ConfigError):
    """The key file is missing, readable by others, damaged, or its passphrase is wrong."""


class StoreError(MurmurationError):
    """The state directory could not be read or written (full disk, wrong rights)."""


class IntegrityError(StoreError):
    """Bytes do not have the length or SHA-256 that their manifest states."""


class NetError(MurmurationError):
    """The network or a remote peer failed; trying again later may help."""


class FramingError(NetError):
    """The remote broke the wire format: frame too long, cut short, or not the message that was expected.

    `kind` is a short snake_case word for the metric (`frame_too_long`, `bad_message`, `stalled`, ...).
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


class FetchError(NetError):
    """A snapshot could not be fetched.

    `kind` names the reason for logs and metrics; `misbehaved` says that the remote broke the protocol
    (wrong hash, another request's id) rather than merely failed (gone, refused, slow).
    """

    def __init__(self, kind: str, detail: str = "", *, misbehaved: bool = False) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.misbehaved = misbehaved


class TrainerError(MurmurationError):
    """The trainer process crashed, hung, or answered a command with an error."""
