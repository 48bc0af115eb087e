"""Shells with a disk, over a network that loses, repeats and reorders: what pairing and mass cores are tried with.

A shell keeps what must be durable in `disk`, which is replaced whole. `handle` does one thing, then writes, then sends;
with `crash` it dies before it writes: what was done is forgotten, and what was to be sent is not sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from peer.core.messages import Message, PeerId


class Shell:
    """One peer through its lives. Subclasses say what a life is made of."""

    name: PeerId
    core: Any
    world: LossyWorld

    def start(self) -> None:
        """Begin a life from `disk`."""
        raise NotImplementedError

    def act(self) -> None:
        """Do what the core's events ask for, in memory."""
        raise NotImplementedError

    def save(self) -> None:
        """Write everything to the disk."""
        raise NotImplementedError

    def handle(self, what: Callable[[], object], *, crash: bool = False) -> None:
        """Let something happen to the core."""
        what()
        self.act()
        if crash:
            self.start()
            self.act()
        self.save()
        self.world.flying += [(self.name, to, message) for to, message in self.core.messages_to_send(self.world.now)]


class LossyWorld:
    """Shells by name, and messages in flight."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.shells: dict[PeerId, Any] = {}
        self.flying: list[tuple[PeerId, PeerId, Message]] = []

    def deliver(self, place: int, *, keep: bool = False, crash: bool = False) -> None:
        sender, to, message = self.flying[place] if keep else self.flying.pop(place)
        shell = self.shells[to]
        shell.handle(lambda: shell.core.receive_message(message, sender, self.now), crash=crash)

    def converse(self, num_messages: int) -> None:
        """Deliver what was said last, so many times: without loss a conversation goes on."""
        for _ in range(num_messages):
            if self.flying:
                self.deliver(-1)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for shell in self.shells.values():
            timer = shell.core.get_timer()
            if timer is not None and timer <= self.now:
                shell.handle(lambda shell=shell: shell.core.handle_timer(self.now))
            timer = shell.core.get_timer()
            assert timer is None or timer > self.now, "a timer that stays due would spin the shell"

    def calm(self, *, seconds: float = 700.0, times: int = 8) -> None:
        """Let all messages through until nothing is left to be said."""
        for _ in range(times):
            while self.flying:
                self.deliver(0)
            self.wait(seconds)
        while self.flying:
            self.deliver(0)
