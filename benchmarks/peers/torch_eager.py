"""PyTorch in eager mode: nn.Linear, optim.SGD and the ordinary loop."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.jobs import Problem
from benchmarks.peers import Entry, Outcome, Run

DEFAULT_THREADS = torch.get_num_threads()


def version() -> str:
    """Version of PyTorch."""
    return f"torch {torch.__version__}"


def _model(problem: Problem, *, last_activation: bool) -> nn.Sequential:
    modules: list[nn.Module] = []
    for W, b in problem.start():
        linear = nn.Linear(*W.shape)
        linear.weight.data, linear.bias.data = torch.from_numpy(W.T.copy()), torch.from_numpy(b)
        modules += [linear, nn.Sigmoid()]
    return nn.Sequential(*(modules if last_activation else modules[:-1]))


def _outcome(model: nn.Sequential, loss: float) -> Outcome:
    linears = [module for module in model if isinstance(module, nn.Linear)]
    params = [p.detach().numpy() for linear in linears for p in (linear.weight.T, linear.bias)]
    return Outcome(loss, params, torch.get_num_threads())


def _run(problem: Problem, threads: int | None, model: nn.Sequential, step: Callable[[Tensor], float]) -> Run:
    def run(steps: int) -> Outcome:
        torch.set_num_threads(threads or DEFAULT_THREADS)
        loss = 0.0
        for batch in torch.from_numpy(problem.batches(steps)):
            loss = step(batch)
        return _outcome(model, loss)

    return run
