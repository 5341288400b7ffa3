"""python -m benchmarks.estimators: the estimators beside scikit-learn's, the same parameters and the same run.

Times by turns, the median of each. scikit-learn has the better of BLAS's own number of threads and one, as waking a
second thread for small products can cost more than it gives. How far the losses of the epochs are apart says that both
did the same.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sklearn.neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import nncore
from benchmarks.problem import SEED, Array


def _digits() -> tuple[Array, Array]:
    x, t = load_digits(return_X_y=True)
    return x / 16, t


def _mnist() -> tuple[Array, Array]:
    x, t = nncore.load_mnist()[0]
    return x.astype(np.float64), t


def _table() -> tuple[Array, Array]:
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(100_000, 20))
    return x, np.tanh(x @ rng.normal(size=20)) + 0.1 * rng.normal(size=len(x))


@dataclass(frozen=True)
class Case:
    """A fit: data, estimator, epochs, parameters that are not the defaults."""

    title: str
    load: Callable[[], tuple[Array, Array]]
    estimator: str = "MLPClassifier"
    epochs: int = 100
    settings: dict[str, Any] = field(default_factory=dict)

    def fit(self, module: Any, x: Array, t: Array) -> tuple[float, Array]:
        """Seconds an epoch, and the losses."""
        settings = {"random_state": SEED, "max_iter": self.epochs, "n_iter_no_change": self.epochs, **self.settings}
        estimator = getattr(module, self.estimator)(**settings)
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(x, t)
        return (time.perf_counter() - started) / estimator.n_iter_, np.array(estimator.loss_curve_)


CASES = {
    "digits": Case("digits, defaults: 64-100-10, Adam, batches of 200", _digits),
    "digits-small": Case("digits, batches of 32", _digits, epochs=30, settings={"batch_size": 32}),
    "digits-sgd": Case(
        "digits, SGD, early stopping",
        _digits,
        settings={"solver": "sgd", "learning_rate_init": 0.01, "early_stopping": True},
    ),
    "mnist": Case("MNIST, 784-100-10, Adam", _mnist, epochs=10),
    "table": Case("100,000 × 20, 20-100-1, Adam", _table, "MLPRegressor", epochs=2),
}  # fmt: skip


# Who, and on how many threads of BLAS.
PEERS = ((sklearn.neural_network, None), (sklearn.neural_network, 1), (nncore, None))


def row(case: Case, repeats: int) -> str:
    """A line of the table."""
    x, t = case.load()
    times: list[list[float]] = [[], [], []]
    for _ in range(repeats):
        for k, (module, blas_threads) in enumerate(PEERS):
            with threadpool_limits(blas_threads):
                seconds, losses = case.fit(module, x, t)
            times[k].append(seconds * 1e3)
            if k == 0:
                expected = losses
    apart = float(np.abs(losses / expected - 1).max())
    theirs, theirs_on_one, ours = map(statistics.median, times)
    best = min(theirs, theirs_on_one)
    return f"| {case.title} | {best:.3g} ms | {ours:.3g} ms | {best / ours:.1f} | {apart:.0e} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators", description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; by default all")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    args = parser.parse_args(argv)
    unknown = [name for name in args.cases if name not in CASES]
    if unknown or args.repeats < 1:
        parser.error(f"{unknown[0]!r} is unknown" if unknown else "expected 1 repeat or more")
    print(f"| fit, float64 | scikit-learn {sklearn.__version__}, an epoch | nncore | times | losses apart |")
    print("|---|--:|--:|--:|--:|")
    for name in args.cases or CASES:
        print(row(CASES[name], args.repeats), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
