"""How often this daemon has been started: the part of every own counter that survives a crash.

Sequence numbers of snapshots are `incarnation * 2**32 + n`, so that no number is ever used twice, whatever a crash
forgot: the incarnation is on disk (fsynced) before the first number of a life is used.
"""

from __future__ import annotations

from pathlib import Path

from peer.errors import StoreError
from peer.store.atomic import atomic_write

SEQ_PER_INCARNATION = 2**32
MAX_INCARNATION = 2**21 - 1  # keeps every seq below 2**53


def next_incarnation(path: Path, *, above: int = 0) -> int:
    """Return a number larger than any that was returned for `path` and than `above`; it is on disk on return.

    Raises `StoreError` when the file is damaged or cannot be written. A damaged file is not guessed at: a number used
    twice would make this peer look like a forger of its own snapshots.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = "0"
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    if not text.isdecimal():
        raise StoreError(f"{path} is damaged: it should hold one number; write a number larger than ever used into it")
    number = max(int(text), above) + 1
    if number > MAX_INCARNATION:
        raise StoreError(f"{path}: {number} starts are more than the format allows")
    atomic_write(path, f"{number}\n".encode("ascii"))
    return number
