"""PyTorch in eager mode: nn.Linear, optim.SGD and the ordinary loop; torch.autograd.gradcheck."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.peers import Entry, Outcome, Run, predicted
from benchmarks.problem import H, Problem

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


def _held_to(threads: int | None) -> Callable[[Run], Run]:
    """Run with so many threads, then as before: the limit holds for all that share its OpenMP library, nncore too."""

    def decorate(run: Run) -> Run:
        def held(steps: int) -> Outcome:
            torch.set_num_threads(threads or DEFAULT_THREADS)
            try:
                return run(steps)
            finally:
                torch.set_num_threads(DEFAULT_THREADS)

        return held

    return decorate


def moons(problem: Problem, threads: int | None) -> Run:
    """One sample a step."""
    linears = _linears(problem)
    model = nn.Sequential(*(module for linear in linears for module in (linear, nn.Sigmoid())))
    optimizer = torch.optim.SGD(model.parameters(), lr=problem.job.lr)
    x, targets = torch.from_numpy(problem.x), torch.from_numpy(problem.targets)

    @_held_to(threads)
    def run(steps: int) -> Outcome:
        for i in problem.batches(steps)[:, 0].tolist():
            optimizer.zero_grad()
            loss = 0.5 * ((model(x[i]) - targets[i]) ** 2).sum()
            loss.backward()
            optimizer.step()
        return _outcome(linears, loss.item())

    return run


def _batches(
    problem: Problem, threads: int | None, linears: list[nn.Linear], model: nn.Module, optimizer: torch.optim.Optimizer
) -> Run:
    x, labels = torch.from_numpy(problem.x), torch.from_numpy(problem.labels)

    @_held_to(threads)
    def run(steps: int) -> Outcome:
        losses = []
        for batch in torch.from_numpy(problem.batches(steps)):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return _outcome(linears, losses[-1])

    return run


def gradcheck(problem: Problem, threads: int | None) -> Run:
    """gradcheck in its slow mode, the default, of b1, W2 and b2; each element costs the same, two losses."""
    # what gradcheck itself calls, as that returns no values; not public, so no other job should need it
    from torch.autograd.gradcheck import _get_numerical_jacobian

    params = [torch.from_numpy(a) for layer in problem.start() for a in layer]
    sizes = [p.numel() for p in params]
    x, labels = torch.from_numpy(problem.x), torch.from_numpy(problem.labels)
    W1, *others = params
    others = [p.requires_grad_() for p in others]

    def loss(W1: torch.Tensor, b1: torch.Tensor, W2: torch.Tensor, b2: torch.Tensor) -> torch.Tensor:
        return cross_entropy(torch.addmm(b2, torch.sigmoid(torch.addmm(b1, x, W1)), W2), labels)

    flat = torch.cat([p.detach().flatten() for p in params])
    sample, offsets = problem.sample(), np.cumsum([0, *sizes[:-1]])
    places = torch.from_numpy(np.concatenate([k + offset for k, offset in zip(sample, offsets, strict=True)]))

    def sampled_loss(values: torch.Tensor) -> torch.Tensor:
        parts = flat.index_put((places,), values).split(sizes)
        return loss(*(part.view(p.shape) for part, p in zip(parts, params, strict=True)))

    values = flat[places].requires_grad_()
    ((jacobian,),) = _get_numerical_jacobian(sampled_loss, (values,), (sampled_loss(values),), eps=H)
    slopes = np.split(jacobian.detach().numpy().reshape(-1), np.cumsum([len(k) for k in sample])[:-1])

    @_held_to(threads)
    def run(steps: int) -> Outcome:
        for _ in range(steps):
            torch.autograd.gradcheck(lambda *others: loss(W1, *others), others, eps=H)  # raises if they differ
        part = sum(sizes[1:]) / sum(sizes)
        return Outcome(loss(W1, *others).item(), slopes, torch.get_num_threads(), part)

    return run


MODULES = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def _model(problem: Problem, linears: list[nn.Linear]) -> nn.Sequential:
    """The layers up to the last sums."""
    hidden = MODULES[problem.job.activation]
    modules = [module for linear in linears[:-1] for module in (linear, hidden())]
    return nn.Sequential(*modules, linears[-1])


def train(problem: Problem, threads: int | None) -> Run:
    """Layers of any number, a batch a step, and its loss as a number."""
    linears = _linears(problem)
    model = _model(problem, linears)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[problem.job.optimizer]
    return _batches(problem, threads, linears, model, kind(model.parameters(), lr=problem.job.lr))


def predict(problem: Problem, threads: int | None) -> Run:
    """eval and no_grad; tensors in, tensors out."""
    model = _model(problem, _linears(problem)).eval()
    if problem.job.output == "softmax":
        model.append(nn.Softmax(dim=1))
    pieces = [torch.from_numpy(x) for x in problem.pieces]

    @_held_to(threads)
    def run(steps: int) -> Outcome:
        with torch.no_grad():
            for _ in range(steps // len(pieces)):
                for x in pieces:
                    y = model(x)
        return predicted(y.numpy(), torch.get_num_threads())

    return run


def online(problem: Problem, threads: int | None) -> Run:
    """One sample a step, at hand as tensors."""
    linears = _linears(problem)
    model = _model(problem, linears)
    optimizer = torch.optim.SGD(model.parameters(), lr=problem.job.lr)
    rows = list(zip(torch.from_numpy(problem.x), torch.from_numpy(problem.targets), strict=True))

    @_held_to(threads)
    def run(steps: int) -> Outcome:
        for _ in range(steps // len(rows)):
            for x, t in rows:
                optimizer.zero_grad()
                (0.5 * ((model(x) - t) ** 2).sum()).backward()
                optimizer.step()
        with torch.no_grad():
            loss = 0.5 * ((model(x) - t) ** 2).sum()
        return _outcome(linears, loss.item())

    return run


JOBS = {
    "moons": Entry(moons, threads=(1,)),
    "mnist": Entry(train, threads=(None, 1)),
    "gradcheck": Entry(
        gradcheck,
        threads=(None, 1),
        limit=1e-9,
        note="torch.autograd.gradcheck, slow mode, with its own back-propagation; extrapolated from b1, W2 and b2",
    ),
    "medium": Entry(train, threads=(None, 1)),
    "wide": Entry(train, threads=(None, 1)),
    "predict-small": Entry(predict, threads=(1,), note="tensors in and out"),
    "predict": Entry(predict, threads=(1,), note="tensors in and out"),
    "predict-many": Entry(predict, threads=(None, 1), note="tensors in and out"),
    "online": Entry(online, threads=(1,), note="samples at hand as tensors"),
}
