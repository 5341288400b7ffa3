"""python -m benchmarks.scaling: how nncore's time grows with samples, units, depth and batch, and where it jumps.

All on one thread, as a second one would come in at some size and bend the lines.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

import nncore
from benchmarks import report
from benchmarks.problem import SEED
from nncore.plotting.style import BLUE, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Timer: TypeAlias = Callable[[], float]
PICTURE = "scaling.png"
MAX_CLIFF = 1.25  # what one unit more may cost; 17 x 17 weights are 1.13 times 16 x 16


@dataclass(frozen=True)
class Case:
    """A network of equal hidden layers on random samples; what is timed are the steps of an epoch, or one step."""

    samples: int = 2048
    units: int = 64
    depth: int = 2
    batch: int = 64
    whole_epoch: bool = False

    def timer(self, seconds: float) -> Timer:
        """A function that trains for about so long, one unit at least, and returns the time of a unit in µs."""
        rng = np.random.default_rng(SEED)
        x = rng.random((self.samples, 32), dtype=np.float32)
        t = rng.integers(8, size=self.samples)
        sizes = (32, *(self.units,) * self.depth)
        layers = [nncore.Layer(a, b, "relu", init="he") for a, b in pairwise(sizes)]
        net = nncore.NeuralNetwork(
            [*layers, nncore.Layer(sizes[-1], 8)], loss="softmax_cross_entropy", dtype=np.float32, rng=SEED
        )
        unit = -(-self.samples // self.batch) if self.whole_epoch else 1

        def train(units: int) -> float:
            started = time.perf_counter()
            net.fit(
                x, t, optimizer=nncore.SGD(1e-4), batch_size=self.batch, iterations=units * unit,
                sampling="sequential", n_threads=1, progress=False,
            )  # fmt: skip
            return (time.perf_counter() - started) / units

        train(1)
        count = max(1, round(seconds / train(max(1, round(seconds * 1000)))))
        return lambda: train(count) * 1e6


@dataclass(frozen=True)
class Axis:
    """The size that grows in a panel."""

    label: str
    unit: str
    values: tuple[int, ...]
    case: Callable[[int], Case]


AXES = (
    Axis("samples", "epoch", tuple(2**k for k in range(9, 17)), lambda n: Case(samples=n, whole_epoch=True)),
    Axis("units of both hidden layers", "step", tuple(2**k for k in range(3, 11)), lambda n: Case(units=n)),
    Axis("hidden layers", "step", (1, 2, 4, 8, 16, 32), lambda n: Case(depth=n)),
    Axis("samples a batch", "step", tuple(2**k for k in range(11)), lambda n: Case(batch=n)),
)
CLIFFS = tuple((n, batch) for batch in (64, 1) for n in (16, 32, 64, 128))


def medians(cases: Sequence[Case], repeats: int, seconds: float) -> list[float]:
    """The median time of each, by turns."""
    timers = [case.timer(seconds) for case in cases]
    times = np.array([[timer() for timer in timers] for _ in range(repeats)])
    return [float(np.median(column)) for column in times.T]


def slope(values: Sequence[float], times: Sequence[float]) -> float:
    """The exponent p of time = c * value**p, by least squares of the logarithms."""
    return float(np.polyfit(np.log(values), np.log(times), 1)[0])


def slopes(values: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
    """Over all values, and over the larger half, where the calls and loops around the work count for less."""
    half = len(values) // 2
    return slope(values, times), slope(values[half:], times[half:])


def cliff(n: int, batch: int, repeats: int, seconds: float) -> tuple[float, float, float]:
    """µs a step with n and n + 1 units, and the median of the ratios of neighbouring repeats."""
    timers = [Case(units=units, batch=batch).timer(seconds) for units in (n, n + 1)]
    pairs = np.array([[timer() for timer in timers] for _ in range(repeats)])
    return *np.median(pairs, axis=0).tolist(), float(np.median(pairs[:, 1] / pairs[:, 0]))


def axis_lines(axis: Axis, times: Sequence[float]) -> Iterator[str]:
    """An axis as a Markdown table."""
    whole, upper = slopes(axis.values, times)
    yield f"**{axis.label}**: slope {whole:.2f}, of the larger half {upper:.2f}\n"
    yield f"| {axis.label} | {' | '.join(map(str, axis.values))} |"
    yield f"|---{'|---' * len(axis.values)}|"
    yield f"| µs per {axis.unit} | {' | '.join(f'{value:.3g}' for value in times)} |\n"


def cliff_lines(figures: dict[tuple[int, int], tuple[float, float, float]]) -> Iterator[str]:
    """The cliffs as a Markdown table."""
    yield f"**One unit more**: two hidden layers of n and of n + 1 units; at most {MAX_CLIFF} is good\n"
    yield "| batch | n | µs per step | with n + 1 | ratio | |"
    yield "|---|---|---|---|---|---|"
    for (n, batch), (first, second, ratio) in figures.items():
        verdict = "" if ratio <= MAX_CLIFF else "a cliff"
        yield f"| {batch} | {n} | {first:.3g} | {second:.3g} | {ratio:.2f} | {verdict} |"


def draw(measured: Sequence[tuple[Axis, Sequence[float]]]) -> "Figure":
    """A panel for each axis: times and the power of the larger half."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(9.6, 6.8), layout="constrained")
    for k, (axis, times) in enumerate(measured, start=1):
        _panel(figure.add_subplot(2, 2, k), axis, times)
    return figure


def _panel(ax: "Axes", axis: Axis, times: Sequence[float]) -> None:
    _, power = slopes(axis.values, times)
    values = np.array(axis.values, dtype=float)
    half = len(values) // 2
    middle = np.exp(np.log(times[half:]).mean() - power * np.log(values[half:]).mean())
    ax.loglog(values, times, "o-", color=BLUE, ms=5, label="measured", zorder=3)
    ax.loglog(values, middle * values**power, "--", color=VERMILLION, lw=1.2, label=f"power {power:.2f}, larger half")
    ax.set_xlabel(axis.label)
    ax.set_ylabel(f"µs per {axis.unit}")
    ax.set_ylim(min(times) / 2, max(times) * 2)
    ax.grid(which="major", alpha=0.3)
    ax.legend(loc="upper left", fontsize="small")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--write", metavar="FOLDER", type=Path, help=f"write scaling.md and {PICTURE} into FOLDER")
    parser.add_argument("--repeats", metavar="N", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--seconds", metavar="S", type=float, default=0.05, help="of a repeat; default: %(default)s")
    args = parser.parse_args(arguments)
    if args.repeats < 1 or not 0 <= args.seconds < float("inf"):
        parser.error("expected --repeats of 1 or more and --seconds of 0 or more")
    if args.write:
        args.write.mkdir(parents=True, exist_ok=True)
    lines = [f"{report.heading(report.environment(['nncore']))}, here 1 thread, float32\n"]
    print(lines[0], flush=True)
    measured = []
    for axis in AXES:
        times = medians([axis.case(value) for value in axis.values], args.repeats, args.seconds)
        measured.append((axis, times))
        lines += (part := list(axis_lines(axis, times)))
        print("\n".join(part), flush=True)
    figures = {key: cliff(*key, args.repeats, args.seconds) for key in CLIFFS}
    lines += (part := list(cliff_lines(figures)))
    print("\n".join(part), flush=True)
    if args.write:
        page = "\n".join(["# How the time grows", "", f"![Times by size]({PICTURE})", "", *lines])
        (args.write / "scaling.md").write_text(f"{page}\n", encoding="utf-8")
        draw(measured).savefig(args.write / PICTURE, dpi=150)
    return 0


if __name__ == "__main__":
    sys.exit(main())
