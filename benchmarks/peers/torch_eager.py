"""PyTorch in eager mode: nn.Linear, optim.SGD and the ordinary loop."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.jobs import Problem
from benchmarks.peers import Entry, Outcome, Run

DEFAULT_THREADS = torch.get_num_threads()


def version() -> str:
    """Version of PyTorch."""
    return f"torch {torch.__version__}"


def _linears(problem: Problem) -> list[nn.Linear]:
    linears = []
    for W, b in problem.start():
        linear = nn.Linear(*W.shape)
        linear.weight.data, linear.bias.data = torch.from_numpy(W.T.copy()), torch.from_numpy(b)
        linears.append(linear)
    return linears


def _outcome(linears: list[nn.Linear], loss: float) -> Outcome:
    params = [p.detach().numpy() for linear in linears for p in (linear.weight.T, linear.bias)]
    return Outcome(loss, params, torch.get_num_threads())


def moons(problem: Problem, threads: int | None) -> Run:
    """One sample a step."""
    linears = _linears(problem)
    model = nn.Sequential(*(module for linear in linears for module in (linear, nn.Sigmoid())))
    optimizer = torch.optim.SGD(model.parameters(), lr=problem.job.lr)
    x, targets = torch.from_numpy(problem.x), torch.from_numpy(problem.targets)

    def run(steps: int) -> Outcome:
        torch.set_num_threads(threads or DEFAULT_THREADS)
        for i in problem.batches(steps)[:, 0].tolist():
            optimizer.zero_grad()
            loss = 0.5 * ((model(x[i]) - targets[i]) ** 2).sum()
            loss.backward()
            optimizer.step()
        return _outcome(linears, loss.item())

    return run


def mnist(problem: Problem, threads: int | None) -> Run:
    """A batch a step, and its loss as a number."""
    linears = _linears(problem)
    model = nn.Sequential(linears[0], nn.Sigmoid(), linears[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=problem.job.lr)
    x, labels = torch.from_numpy(problem.x), torch.from_numpy(problem.labels)

    def run(steps: int) -> Outcome:
        torch.set_num_threads(threads or DEFAULT_THREADS)
        losses = []
        for batch in torch.from_numpy(problem.batches(steps)):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return _outcome(linears, losses[-1])

    return run


JOBS = {
    "moons": Entry(moons, threads=(1,)),
    "mnist": Entry(mnist, threads=(None, 1)),
}
