"""nncore: NeuralNetwork.fit, whose steps run in the compiled core."""

import nncore
from benchmarks.jobs import SEED, Array, Problem
from benchmarks.peers import Entry, Outcome, Run


def version() -> str:
    """Version of nncore."""
    return f"nncore {nncore.__version__}"


def _run(net: nncore.NeuralNetwork, x: Array, problem: Problem, threads: int | None) -> Run:
    job = problem.job

    def run(steps: int) -> Outcome:
        history = net.fit(
            x, problem.labels, optimizer=nncore.SGD(job.lr), batch_size=job.batch_size, iterations=steps,
            sampling=job.sampling, n_threads=threads or "auto", progress=False, rng=SEED,
        )  # fmt: skip
        return Outcome(float(history.loss[-1]), list(net.params.values()), history.n_threads)

    return run


def moons(problem: Problem, threads: int | None) -> Run:
    """The article's network."""
    layers = [nncore.Layer(*W.shape, "sigmoid", weights=W, bias=b) for W, b in problem.start()]
    return _run(nncore.NeuralNetwork(layers, dtype=problem.dtype), problem.x, problem, threads)


def mnist(problem: Problem, threads: int | None) -> Run:
    """The layers of TwoLayerNet on the images as bytes.

    TwoLayerNet itself has the book's 1e-7 within the logarithm, and the exact gradient of that; no peer has it, and
    it alone would put the parameters 1e-6 apart.
    """
    layers = [
        nncore.Layer(*W.shape, activation, weights=W, bias=b)
        for (W, b), activation in zip(problem.start(), ("sigmoid", "softmax"), strict=True)
    ]
    net = nncore.NeuralNetwork(layers, loss="softmax_cross_entropy", dtype=problem.dtype, input_scale=1 / 255)
    return _run(net, problem.raw, problem, threads)


JOBS = {
    "moons": Entry(moons),
    "mnist": Entry(mnist, threads=(None, 1), note="reads the images as bytes"),
}
