"""nncore: NeuralNetwork.fit and numerical_gradient, which run in the compiled core."""

import nncore
from benchmarks.jobs import SEED, Array, H, Problem
from benchmarks.peers import Entry, Outcome, Run


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


JOBS = {
    "moons": Entry(moons),
    "mnist": Entry(mnist, threads=(None, 1), note="reads the images as bytes"),
    "gradcheck": Entry(gradcheck, threads=(None, 1), limit=1e-9, note="numerical_gradient, all parameters"),
}
