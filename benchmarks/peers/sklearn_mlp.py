"""scikit-learn: MLPClassifier and MLPRegressor with their SGD made plain.

``fit`` takes neither our start nor our samples; for predictions and online updates the start is put in.
"""

import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.peers import Entry, Outcome, Run, predicted
from benchmarks.peers.numpy_reference import blas_threads, half_square
from benchmarks.problem import SEED, Problem


def version() -> str:
    """Version of scikit-learn."""
    return f"scikit-learn {sklearn.__version__}"


NAMES = {"sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


def prepare(problem: Problem, threads: int | None) -> Run:
    """The same sizes, batch and learning rate; no momentum, no penalty, no early end."""
    job = problem.job

    def run(steps: int) -> Outcome:
        epochs = max(1, steps // problem.epoch)
        net = MLPClassifier(
            job.sizes[1:-1], activation=NAMES[job.activation], solver=job.optimizer, alpha=0, batch_size=job.batch_size,
            learning_rate_init=job.lr, max_iter=epochs, shuffle=job.sampling != "sequential", random_state=SEED,
            tol=0, momentum=0, nesterovs_momentum=False, n_iter_no_change=epochs + 1,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(problem.x, problem.labels)
        return Outcome(float(net.loss_), [], blas_threads())

    return run


def _started(problem: Problem) -> Any:
    """An estimator with the job's start: made by one update, as only that lays out its arrays."""
    job, kind = problem.job, MLPClassifier if problem.job.output == "softmax" else MLPRegressor
    net = kind(
        hidden_layer_sizes=job.sizes[1:-1], activation=NAMES[job.activation], solver="sgd", alpha=0,
        batch_size=1, shuffle=False, learning_rate_init=job.lr or 1.0, momentum=0, nesterovs_momentum=False,
        random_state=SEED,
    )  # fmt: skip
    if job.output == "softmax":
        net.partial_fit(problem.x[:1], [0], classes=np.arange(job.sizes[-1]))
    else:
        net.partial_fit(problem.x[:1], problem.targets[:1])
    for W, b, (start_W, start_b) in zip(net.coefs_, net.intercepts_, problem.start(), strict=True):
        W[...], b[...] = start_W, start_b  # in place: its optimizer holds these arrays
    return net


def predict(problem: Problem, threads: int | None) -> Run:
    """predict_proba of classes, predict of numbers."""
    net, pieces = _started(problem), problem.pieces
    call = net.predict_proba if problem.job.output == "softmax" else net.predict

    def run(steps: int) -> Outcome:
        for _ in range(steps // len(pieces)):
            for x in pieces:
                y = call(x)
        return predicted(y, blas_threads())

    return run


def online(problem: Problem, threads: int | None) -> Run:
    """partial_fit with one row."""
    net = _started(problem)
    rows = list(zip(problem.pieces, problem.targets[:, None], strict=True))

    def run(steps: int) -> Outcome:
        for _ in range(steps // len(rows)):
            for x, t in rows:
                net.partial_fit(x, t)
        params = [a for layer in zip(net.coefs_, net.intercepts_, strict=True) for a in layer]
        return Outcome(half_square(net.predict(x), t), params, blas_threads())

    return run


COMMON = "MLPClassifier, alpha 0, no momentum in sgd, fit anew each repeat from a start of its own: not checked"
JOBS = {
    "moons": Entry(
        prepare, comparable=False, note=f"{COMMON}; batch_size 1, shuffle=False; one logistic output, log loss"
    ),
    "mnist": Entry(prepare, comparable=False, note=f"{COMMON}; batch_size 100, shuffled epochs, no replacement"),
    "medium": Entry(prepare, comparable=False, note=COMMON),
    "wide": Entry(prepare, comparable=False, note=COMMON),
    "predict-small": Entry(predict, note="MLPRegressor.predict"),
    "predict": Entry(predict, note="MLPClassifier.predict_proba"),
    "predict-many": Entry(predict, note="MLPClassifier.predict_proba"),
    "online": Entry(online, note="MLPRegressor.partial_fit"),
}
