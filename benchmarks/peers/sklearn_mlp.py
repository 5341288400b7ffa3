"""scikit-learn: MLPClassifier with its SGD made plain. It takes neither our start nor our samples."""

import warnings

import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.jobs import SEED, Problem
from benchmarks.peers import Entry, Outcome, Run
from benchmarks.peers.numpy_reference import blas_threads


def version() -> str:
    """Version of scikit-learn."""
    return f"scikit-learn {sklearn.__version__}"


def prepare(problem: Problem, threads: int | None) -> Run:
    """The same sizes, batch and learning rate; no momentum, no penalty, no early end."""
    job = problem.job

    def run(steps: int) -> Outcome:
        epochs = steps // problem.epoch
        net = MLPClassifier(
            job.sizes[1:-1], activation="logistic", solver="sgd", alpha=0, batch_size=job.batch_size,
            learning_rate_init=job.lr, max_iter=epochs, shuffle=job.sampling != "sequential", random_state=SEED,
            tol=0, momentum=0, nesterovs_momentum=False, n_iter_no_change=epochs + 1,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(problem.x, problem.labels)
        return Outcome(float(net.loss_), [], blas_threads())

    return run


COMMON = "MLPClassifier, sgd, momentum 0, alpha 0, fit anew each repeat from a start of its own: not checked"
JOBS = {
    "moons": Entry(
        prepare, comparable=False, note=f"{COMMON}; batch_size 1, shuffle=False; one logistic output, log loss"
    ),
    "mnist": Entry(prepare, comparable=False, note=f"{COMMON}; batch_size 100, shuffled epochs, no replacement"),
}
