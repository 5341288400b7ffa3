"""nncore: NeuralNetwork's fit, predict, partial_fit and numerical_gradient, which run in the compiled core."""

import inspect
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import nncore
from benchmarks.peers import Entry, MissingError, Outcome, Run, predicted
from benchmarks.problem import SEED, Array, H, Problem
from nncore.core.threads import choices


def version() -> str:
    """Version of nncore."""
    return f"nncore {nncore.__version__}"


def _layers(problem: Problem, activations: tuple[str, ...]) -> list[nncore.Layer]:
    return [
        nncore.Layer(n_in, n_out, activation, weights=W, bias=b)
        for n_in, n_out, activation, (W, b) in zip(
            problem.job.sizes, problem.job.sizes[1:], activations, problem.start(), strict=False
        )
    ]


def _optimizer(problem: Problem) -> Any:
    name = {"sgd": "SGD", "adam": "Adam"}[problem.job.optimizer]
    if name not in nncore.__all__:
        raise MissingError(f"has no {name}")
    return getattr(nncore, name)(problem.job.lr)


def network(problem: Problem) -> nncore.NeuralNetwork:
    """The job's network at its start."""
    job = problem.job
    activations = (job.activation,) * (len(job.sizes) - 2) + (job.output,)
    loss = "softmax_cross_entropy" if job.output == "softmax" else "squared_error"
    return nncore.NeuralNetwork(_layers(problem, activations), loss=loss, dtype=problem.dtype)


def _run(net: nncore.NeuralNetwork, x: Array, problem: Problem, threads: int | None) -> Run:
    job = problem.job

    def run(steps: int) -> Outcome:
        history = net.fit(
            x, problem.labels, optimizer=_optimizer(problem), batch_size=job.batch_size, iterations=steps,
            sampling=job.sampling, n_threads=threads or "auto", progress=False, rng=SEED,
        )  # fmt: skip
        return Outcome(float(history.loss[-1]), list(net.params.values()), history.n_threads)

    return run


def moons(problem: Problem, threads: int | None) -> Run:
    """The article's network."""
    net = nncore.NeuralNetwork(_layers(problem, ("sigmoid",) * 4), dtype=problem.dtype)
    return _run(net, problem.x, problem, threads)


def mnist(problem: Problem, threads: int | None) -> Run:
    """The layers of TwoLayerNet on the images as bytes.

    TwoLayerNet itself has the book's 1e-7 within the logarithm, and the exact gradient of that; no peer has it, and
    it alone would put the parameters 1e-6 apart.
    """
    net = nncore.NeuralNetwork(
        _layers(problem, ("sigmoid", "softmax")),
        loss="softmax_cross_entropy",
        dtype=problem.dtype,
        input_scale=1 / 255,
    )
    return _run(net, problem.raw, problem, threads)


def gradcheck(problem: Problem, threads: int | None) -> Run:
    """All parameters; the layers of TwoLayerNet without its 1e-7, as above."""
    net = nncore.NeuralNetwork(
        _layers(problem, ("sigmoid", "softmax")), loss="softmax_cross_entropy", dtype=problem.dtype
    )
    sample, x = problem.sample(), problem.x
    used = threads or nncore.show_config("dicts")["threads"]

    def run(steps: int) -> Outcome:
        for _ in range(steps):
            grads = net.numerical_gradient(x, problem.labels, H, n_threads=threads or "auto")
        slopes = [grad.reshape(-1)[k] for grad, k in zip(grads.values(), sample, strict=True)]
        return Outcome(net.loss(x, problem.labels), slopes, used)

    return run


def train(problem: Problem, threads: int | None) -> Run:
    """Any network on rows of floats."""
    _optimizer(problem)
    return _run(network(problem), problem.x, problem, threads)


def predict(problem: Problem, threads: int | None, *, reuse: bool) -> Run:
    """A call for each piece, which returns a new array or fills in the one given."""
    net, pieces = network(problem), problem.pieces
    given: dict[str, Any] = {}
    if reuse:
        if "out" not in inspect.signature(net.predict).parameters:
            raise MissingError("predict has no out")
        given["out"] = np.empty((len(pieces[0]), net.n_out), problem.dtype)
    if threads:
        given["n_threads"] = threads
    used = choices(threads or "auto", len(pieces[0]) * net.n_params)[-1]

    def run(steps: int) -> Outcome:
        for _ in range(steps // len(pieces)):
            for x in pieces:
                y = net.predict(x, **given)
        return predicted(y, used)

    return run


def online(problem: Problem, threads: int | None) -> Run:
    """partial_fit."""
    net = network(problem)
    update = partial(net.partial_fit, optimizer=nncore.SGD(problem.job.lr))
    rows = list(zip(problem.x, problem.targets, strict=True))

    def run(steps: int) -> Outcome:
        for _ in range(steps // len(rows)):
            for x, t in rows:
                update(x, t)
        return Outcome(net.loss(x, t), list(net.params.values()), 1)

    return run


PREDICT = (
    Entry(partial(predict, reuse=False)),
    Entry(partial(predict, reuse=True), note="into an array of the caller: out="),
)
PREDICT_MANY = tuple(replace(entry, threads=(None, 1)) for entry in PREDICT)
JOBS = {
    "moons": Entry(moons),
    "mnist": Entry(mnist, threads=(None, 1), note="reads the images as bytes"),
    "gradcheck": Entry(gradcheck, threads=(None, 1), limit=1e-9, note="numerical_gradient, all parameters"),
    "medium": Entry(train, threads=(None, 1)),
    "wide": Entry(train, threads=(None, 1)),
    "predict-small": PREDICT,
    "predict": PREDICT,
    "predict-many": PREDICT_MANY,
    "online": Entry(online),
}
