# ruff: noqa: T201  printing is what a team's code does
"""A plug-in with one task that breaks in every way that a team's code may break. Run by the trainer, not imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import msgspec
import torch
from torch import Tensor, nn

from peer.train.task import Data, tasks

print("rogue: hello from the plug-in")


@tasks.register("rogue")
class Rogue:
    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        how: str
        after: int = 1  # losses that work
        place: str = "loss"

    metric_name = "accuracy"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.num_losses = 0

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))

    def train_data(self) -> Data:
        if self.config.place == "data":
            self.misbehave(torch.zeros(()))
        inputs = torch.randn(64, 4)
        return Data(inputs, (inputs.sum(1) > 0).long())

    def test_data(self) -> Data:
        return self.train_data()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(output, target)
        self.num_losses += 1
        if self.config.place == "loss" and self.num_losses > self.config.after:
            return self.misbehave(loss)
        return loss

    def metric(self, output: Tensor, target: Tensor) -> float:
        return float((output.argmax(1) == target).double().mean())

    def misbehave(self, loss: Tensor) -> Tensor:
        how = self.config.how
        if how == "raise":
            raise ValueError("the labels are upside down\nsecond line")
        if how == "exit":
            os._exit(3)
        if how == "sys_exit":
            sys.exit("I have had enough")
        if how in ("SIGKILL", "SIGSEGV"):
            os.kill(os.getpid(), signal.Signals[how])
        if how == "memory":
            raise MemoryError
        if how == "cuda":
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")
        if how == "say":
            print("rogue: a step", flush=True)
        if how == "hang":
            print("rogue: hanging", flush=True)
            threading.Event().wait()
        if how == "hang_with_child":
            child = subprocess.Popen(["sleep", "1000"])
            print(f"rogue: child {child.pid}", flush=True)
            threading.Event().wait()
        if how == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if how == "print":
            for number in range(20_000):
                print(f"rogue: line {number} " + "x" * 80)
            print("y" * 100_000)
        if how == "close_fds":
            os.closerange(3, 256)
        if how == "nan":
            return loss * float("nan")
        if how == "nonsense":
            for fd in range(3, 64):
                try:
                    os.write(fd, b"\xff" * 64)
                except OSError:
                    continue
        return loss
