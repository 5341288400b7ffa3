"""One check for the gradients of any library: a hand-written NumPy layer, a scikit-learn model, a PyTorch module.

All it takes is a function that reads a dict of arrays and returns the loss, and the gradients by the same names. The
layer has a bug: its bias gradient is a sum over the batch, where that of the weights is a mean.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from nncore import check_gradient


def check_layer(rng, reduce):
    """A layer of tanh units with half the squared error; reduce is what its bias gradient does over the batch."""
    x, t = rng.standard_normal((32, 4)), rng.standard_normal((32, 3))

    def forward(params):
        return np.tanh(x @ params["W"] + params["b"])

    def loss(params):
        return 0.5 * np.sum((forward(params) - t) ** 2) / len(x)

    def backward(params):
        y = forward(params)
        delta = (y - t) * (1 - y**2)
        return {"W": x.T @ delta / len(x), "b": reduce(delta, axis=0)}

    return check_gradient(loss, {"W": rng.standard_normal((4, 3)), "b": np.zeros(3)}, grad=backward)


def check_sklearn(rng):
    """The log loss of a LogisticRegression by its own coefficients, which are read by alias."""
    x, labels = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(x, labels)
    model.coef_ += 0.1 * rng.standard_normal(model.coef_.shape)  # away from the minimum, where all is nearly 0
    delta = (model.predict_proba(x) - np.eye(3)[labels]) / len(x)
    return check_gradient(
        lambda params: log_loss(labels, model.predict_proba(x)),
        {"coef_": model.coef_, "intercept_": model.intercept_},
        grad={"coef_": delta.T @ x, "intercept_": delta.sum(axis=0)},
    )


def check_torch(rng):
    """The .grad of a module, in float64 as differences need it; None if PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    x, labels = torch.from_numpy(rng.standard_normal((32, 4))), torch.from_numpy(rng.integers(3, size=32))

    def loss(params):
        with torch.no_grad():
            for name, p in module.named_parameters():
                p.copy_(torch.from_numpy(params[name]))
            return torch.nn.functional.cross_entropy(module(x), labels).item()

    torch.nn.functional.cross_entropy(module(x), labels).backward()
    params = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
    return check_gradient(loss, params, grad={name: p.grad.numpy() for name, p in module.named_parameters()})


def main(out: Path) -> None:
    """Print the four reports, draw that of the bug."""
    wrong = check_layer(np.random.default_rng(0), np.sum)
    print("NumPy layer, as first written:", wrong, sep="\n")
    print("\nNumPy layer, corrected:", check_layer(np.random.default_rng(0), np.mean), sep="\n")
    print("\nscikit-learn, LogisticRegression:", check_sklearn(np.random.default_rng(0)), sep="\n")
    report = check_torch(np.random.default_rng(0))
    print("\nPyTorch, module.grad:", report or "not checked, PyTorch is not installed", sep="\n" if report else " ")

    out.mkdir(parents=True, exist_ok=True)
    wrong.plot().savefig(out / "check_gradients.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    main(**vars(parser.parse_args()))
