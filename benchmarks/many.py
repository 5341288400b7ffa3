"""The job many: networks trained side by side against the same networks one after the other."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np

import nncore
from benchmarks.harness import SETTLE_SECONDS, Row, Settings, float_types
from benchmarks.peers.nncore_fused import network
from benchmarks.problem import Job, Problem

Networks: TypeAlias = list[nncore.NeuralNetwork]
POPULATION = 8
ONE, TWO, SERIAL, TOGETHER = "one network", "two threads", f"{POPULATION} in turn", f"{POPULATION}, fit_many"


class Trainer:
    """The ways to train, all with the same samples and settings."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.epochs = problem, 1
        self.pool = ThreadPoolExecutor(2)
        list(self.pool.map(time.sleep, (0, 0)))  # its threads start before the clock

    @property
    def settings(self) -> dict[str, Any]:
        """Of fit."""
        job = self.problem.job
        return {
            "optimizer": nncore.SGD(job.lr), "batch_size": job.batch_size, "epochs": self.epochs,
            "sampling": job.sampling, "progress": False,
        }  # fmt: skip

    def fit(self, net: nncore.NeuralNetwork) -> None:
        """One network."""
        net.fit(self.problem.x, self.problem.labels, **self.settings)

    def in_turn(self, nets: Networks) -> None:
        """One after the other."""
        for net in nets:
            self.fit(net)

    def in_threads(self, nets: Networks) -> None:
        """A Python thread each."""
        list(self.pool.map(self.fit, nets))

    def fit_many(self, nets: Networks) -> None:
        """All in one call."""
        nncore.fit_many(nets, self.problem.x, self.problem.labels, **self.settings)

    def seconds(self, way: Callable[[Networks], None], count: int) -> tuple[float, Networks]:
        """How long it takes for new networks, and the networks."""
        nets = [network(self.problem) for _ in range(count)]
        time.sleep(SETTLE_SECONDS)
        started = time.perf_counter()
        way(nets)
        return time.perf_counter() - started, nets


def measure(job: Job, settings: Settings) -> list[Row]:
    """The rows of the table; a ratio is that of two ways in the same run.

    Raises
    ------
    ValueError
        If the job has none of the float types.
    """
    dtype = float_types(job, settings)[0]
    problem = Problem(job, *job.load(), np.dtype(dtype))
    config = nncore.show_config("dicts")
    assert config is not None  # a dict in this mode
    trainer = Trainer(problem)
    ways = {
        ONE: (trainer.in_turn, 1, Row(ONE, dtype, 1, 1)),
        TWO: (trainer.in_threads, 2, Row(TWO, dtype, 2, 2, note="over one network: 1 at best")),
        SERIAL: (trainer.in_turn, POPULATION, Row(SERIAL, dtype, 1, 1)),
        TOGETHER: (
            trainer.fit_many, POPULATION,
            Row(TOGETHER, dtype, None, config["threads"], note=f"over {POPULATION} in turn: 1 / threads at best"),
        ),
    }  # fmt: skip
    rows = [row for *_, row in ways.values()]
    if "fit_many" not in nncore.__all__:
        rows[-1].status, rows[-1].reason = "missing", "nncore has no fit_many"
    once, (expected,) = trainer.seconds(trainer.in_turn, 1)
    timed = [way for way in ways.values() if way[2].status == "ok" and _agrees(trainer, *way, expected=expected)]
    trainer.epochs = max(1, round(settings.seconds / once))
    for _ in range(settings.repeats):
        for way, count, row in timed:
            row.steps = trainer.epochs * problem.epoch
            row.times_us.append(trainer.seconds(way, count)[0] / row.steps * 1e6)
    trainer.pool.shutdown()
    _compare(rows[1], rows[0])
    _compare(rows[3], rows[2])
    return rows


def _agrees(
    trainer: Trainer, way: Callable[[Networks], None], count: int, row: Row, *, expected: nncore.NeuralNetwork
) -> bool:
    """Whether all networks end as one trained alone, to the bit; the row says if not."""
    _, nets = trainer.seconds(way, count)
    row.deviation = max(float(np.abs(net.core.params - expected.core.params).max()) for net in nets)
    if row.deviation != 0:
        row.status, row.reason = "differs", f"{row.deviation:.1e} from a network trained alone"
    return row.deviation == 0


def _compare(row: Row, base: Row) -> None:
    """Sets the ratio."""
    if row.median_us and base.median_us:
        row.ratio = row.median_us / base.median_us
