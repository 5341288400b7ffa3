"""The solver "lbfgs": SciPy's L-BFGS-B on the engine's loss and gradient of all samples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from nncore.core import notices
from nncore.core.threads import held_blas
from nncore.data.samples import Data
from nncore.estimators.progress import Progress
from nncore.estimators.tasks import Tasks
from nncore.network import NeuralNetwork
from nncore.training.divergence import Watch
from nncore.training.lbfgs import Objective

Array = NDArray[Any]


def minimise(progress: Progress, net: NeuralNetwork, data: Data, tasks: Tasks | None) -> None:
    """Train until L-BFGS ends, Ctrl-C, or a callback that ends training."""
    from scipy.optimize import minimize

    watch, reached, pressed = Watch(net, data), net.core.params.astype(np.float64), False

    def evaluate(x: Array) -> tuple[float, Array]:
        loss, gradient = objective(x)
        if not progress.n_iter_ and not (np.isfinite(loss) and np.isfinite(gradient).all()):
            watch.go_back()
            raise ValueError(f"the loss or its gradient is not finite at the start: {watch.advice(rate=False)}")
        return loss, gradient

    def iteration(intermediate_result: Any) -> None:
        net.core.params[:] = reached[:] = intermediate_result.x
        progress._record(float(intermediate_result.fun))
        if tasks is not None:
            tasks.begin()
            if tasks.end():
                raise StopIteration

    least = progress._least_losses(data.t)
    progress.n_iter_, progress._least = 0, 0.0 if least is None else float(np.average(least, weights=data.weights))
    objective = Objective(net, data, progress.n_threads)
    options = {"maxfun": progress.max_fun, "maxiter": progress.max_iter, "gtol": progress.tol}
    try:
        with held_blas():
            result = minimize(
                evaluate, reached.copy(), method="L-BFGS-B", jac=True, callback=iteration, options=options
            )
    except KeyboardInterrupt:
        net.core.params[:], pressed = reached, True
    if pressed:
        notices.interrupted(f"Ctrl-C ended training after iteration {progress.n_iter_}")
        return
    net.core.params[:] = result.x
    _conclude(progress, net, data, result)


def _conclude(progress: Progress, net: NeuralNetwork, data: Data, result: Any) -> None:
    """Report the loss reached, and warn of what makes the result doubtful."""
    progress.loss_ = progress._reported(float(result.fun))
    message = progress._far_from_targets(net, data, np.arange(len(data.t)))
    if not message and result.status in (1, 2):
        message = f"L-BFGS ended after {progress.n_iter_} iterations without having converged: {result.message}"
    if message:
        notices.warn(message, ConvergenceWarning)
