"""FANN: its incremental training, a call of the C library an epoch."""

from importlib.metadata import version as installed

from fann2 import libfann

from benchmarks.peers import Entry, Outcome, Run
from benchmarks.problem import Problem


def version() -> str:
    """Version of the Python package."""
    return f"fann2 {installed('fann2')}"


def moons(problem: Problem, threads: int | None) -> Run:
    """One sample a step; its sigmoid is 1 / (1 + exp(-2 * steepness * x))."""
    net = libfann.neural_net()
    net.create_standard_array(problem.job.sizes)
    for set_part in (net.set_activation_function_hidden, net.set_activation_function_output):
        set_part(libfann.SIGMOID)
    for set_part in (net.set_activation_steepness_hidden, net.set_activation_steepness_output):
        set_part(0.5)
    net.set_training_algorithm(libfann.TRAIN_INCREMENTAL)
    net.set_train_error_function(libfann.ERRORFUNC_LINEAR)
    net.set_learning_rate(problem.job.lr)
    data = libfann.training_data()
    data.set_train_data(problem.x.tolist(), problem.targets.tolist())

    def run(steps: int) -> Outcome:
        for _ in range(steps // problem.epoch):
            loss = net.train_epoch(data)
        return Outcome(float(loss), [], 1)

    return run


JOBS = {
    "moons": Entry(moons, comparable=False, note="a start of its own, and derivatives that it limits: not checked"),
}
