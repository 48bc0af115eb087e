"""How fast gossipy learns the task of `benchmarks.simulation`.

    python -m benchmarks.simulation_gossipy --python PYTHON [--nodes 100] [--rounds 10] [--delta 10]

PYTHON is an interpreter in whose environment gossipy-dfl is installed; it runs this file alone, as a child. gossipy
imports torchvision for sets of pictures that are not used here: an empty module stands in for it.

Task: digits, perceptron 64-64-10, SGD, one local epoch of 10 batches of 8, random 4-regular graph. As in gossipy's own
examples: `TorchModelHandler` in the mode MERGE_UPDATE, protocol PUSH, nodes that time out once a round. In a round each
node sends its model to one neighbour, and each model that arrives is merged and followed by a local epoch: that is one
node-round, and there are exactly as many as nodes. (Ours mixes with all four neighbours.) Nothing is evaluated: without
a test set gossipy leaves that out. Its simulator asks every node in every time step whether it is due; a round has
`--delta` of them, 100 in its examples, 10 here, in its favour. One round before those that are timed warms up.

The child runs with one thread: for products as small as these, more of them take longer.
Prints one JSON line. Never fails on a slow machine: it only measures.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

SAMPLES_PER_NODE, BATCH, DEGREE, HIDDEN, LR = 80, 8, 4, 64, 0.1
DEADLINE_S = 900


def measure_gossipy(python: str, *, nodes: int = 100, rounds: int = 10, delta: int = 10) -> dict[str, Any]:
    """Return what was measured with the interpreter `python`. Raises `SystemExit` when it cannot run gossipy."""
    command = [python, str(Path(__file__).resolve()), "--child"]
    command += ["--nodes", str(nodes), "--rounds", str(rounds), "--delta", str(delta)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | one_thread
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except OSError as error:
        raise SystemExit(f"--python: {python} cannot be run: {error.strerror}") from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise SystemExit(f"{python} could not run gossipy: {reason[0]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run_gossipy(nodes: int, rounds: int, delta: int) -> dict[str, Any]:
    """Run the task with the gossipy that this interpreter finds; return what was measured."""
    sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))
    torch, core = importlib.import_module("torch"), importlib.import_module("gossipy.core")
    simul = importlib.import_module("gossipy.simul")
    torch.set_num_threads(1)
    importlib.import_module("gossipy").set_seed(1)
    importlib.import_module("gossipy").LOG.setLevel("ERROR")

    dispatcher = importlib.import_module("gossipy.data").DataDispatcher(_digits(nodes), n=nodes, eval_on_user=False)
    network = core.StaticP2PNetwork(nodes, _regular(nodes))
    handler = importlib.import_module("gossipy.model.handler").TorchModelHandler(
        net=_perceptron(),
        optimizer=torch.optim.SGD,
        optimizer_params={"lr": LR},
        criterion=torch.nn.CrossEntropyLoss(),
        local_epochs=1,
        batch_size=BATCH,
        create_model_mode=core.CreateModelMode.MERGE_UPDATE,
    )
    members = importlib.import_module("gossipy.node").GossipNode.generate(
        data_dispatcher=dispatcher, p2p_net=network, model_proto=handler, round_len=delta, sync=True
    )
    tested = dispatcher.has_test() or any(member.has_test() for member in members.values())
    assert not tested, "it would evaluate"
    simulator = simul.GossipSimulator(members, dispatcher, delta=delta, protocol=core.AntiEntropyProtocol.PUSH)
    simulator.init_nodes()
    simulator.start(n_rounds=1)
    before = sum(member.model_handler.n_updates for member in members.values())
    began, cpu = time.perf_counter(), time.process_time()
    simulator.start(n_rounds=rounds)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    assert sum(member.model_handler.n_updates for member in members.values()) > before, "nothing was learned"
    return {
        "nodes": nodes,
        "rounds": rounds,
        "delta": delta,
        "node_rounds_per_s": nodes * rounds / wall_s,
        "node_rounds_per_cpu_s": nodes * rounds / cpu_s,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "accuracy": _accuracy(members),
        "gossipy": importlib.metadata.version("gossipy-dfl"),
        "torch": torch.__version__,
    }


def _digits(nodes: int) -> Any:
    """Return the training set, dealt out as often as it takes, as gossipy's own handler of data."""
    torch = importlib.import_module("torch")
    pixels, labels = importlib.import_module("sklearn.datasets").load_digits(return_X_y=True)
    chosen = torch.arange(nodes * SAMPLES_PER_NODE) % len(labels)
    inputs = torch.as_tensor(pixels, dtype=torch.float32)[chosen] / 16
    handler = importlib.import_module("gossipy.data.handler").ClassificationDataHandler
    # test_size 0: else it would keep a fifth for tests, and evaluate every node on it in every round.
    return handler(inputs, torch.as_tensor(labels, dtype=torch.int64)[chosen], test_size=0.0)


def _regular(nodes: int) -> Any:
    networkx = importlib.import_module("networkx")
    return networkx.to_numpy_array(networkx.random_regular_graph(DEGREE, nodes, seed=1))


def _perceptron() -> Any:
    nn = importlib.import_module("torch").nn
    base: Any = importlib.import_module("gossipy.model").TorchModel

    class Perceptron(base):  # type: ignore[misc]  # its type is known where gossipy is installed
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))

        def init_weights(self) -> None:
            for layer in self.layers:
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()

        def forward(self, x: Any) -> Any:
            return self.layers(x)

    return Perceptron()


def _accuracy(members: dict[int, Any]) -> float:
    """Return the mean accuracy of the models on their own samples: a sign that they did learn."""
    scores = [member.model_handler.evaluate(member.data[0])["accuracy"] for member in members.values()]
    return float(sum(scores) / len(scores))


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default="", help="interpreter that can import gossipy")
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--delta", type=int, default=10, help="time steps of a round")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        with contextlib.redirect_stdout(io.StringIO()):  # its progress bar
            figures = run_gossipy(options.nodes, options.rounds, options.delta)
    elif options.python:
        figures = measure_gossipy(options.python, nodes=options.nodes, rounds=options.rounds, delta=options.delta)
    else:
        parser.error("--python: name an interpreter that can import gossipy")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
