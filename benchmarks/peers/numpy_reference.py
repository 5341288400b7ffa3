"""NumPy: the article's and the book's loops. In float64 they say what every peer has to compute."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from benchmarks.jobs import Array, H, Problem
from benchmarks.peers import Entry, Outcome, Run


def version() -> str:
    """Versions of NumPy and of its BLAS."""
    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return f"numpy {np.__version__} ({blas['name']} {blas['version']})"


def blas_threads() -> int:
    """Threads that BLAS may use."""
    return max((library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), default=1)


def sigmoid(x: Array) -> Array:
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


class Layer:
    """The article's dense layer, sigmoid."""

    def __init__(self, weights: Array, bias: Array) -> None:
        self.weights, self.bias = weights, bias
        self.last_activation = self.error = self.delta = bias

    def activate(self, x: Array) -> Array:
        """Output for one sample."""
        self.last_activation = sigmoid(np.dot(x, self.weights) + self.bias)
        return self.last_activation

    def apply_activation_derivative(self, z: Array) -> Array:
        """Derivative of the sigmoid, written from its output."""
        return z * (1 - z)


class NeuralNetwork:
    """The article's network; other than in its published loop, biases are updated as well."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers

    def feed_forward(self, x: Array) -> Array:
        """Output for one sample."""
        for layer in self.layers:
            x = layer.activate(x)
        return x

    def backpropagation(self, x: Array, y: Array, learning_rate: float) -> None:
        """One update with one sample."""
        output = self.feed_forward(x)
        for i in reversed(range(len(self.layers))):
            layer = self.layers[i]
            if i == len(self.layers) - 1:
                layer.error = y - output
            else:
                following = self.layers[i + 1]
                layer.error = np.dot(following.weights, following.delta)
            layer.delta = layer.error * layer.apply_activation_derivative(layer.last_activation)
        for i, layer in enumerate(self.layers):
            inputs = np.atleast_2d(x if i == 0 else self.layers[i - 1].last_activation)
            layer.weights += layer.delta * inputs.T * learning_rate
            layer.bias += layer.delta * learning_rate


def moons(problem: Problem, threads: int | None) -> Run:
    """The article's loop."""
    net = NeuralNetwork([Layer(W, b) for W, b in problem.start()])
    x, targets, lr = problem.x, problem.targets, problem.job.lr

    def run(steps: int) -> Outcome:
        for i in problem.batches(steps)[:, 0]:
            net.backpropagation(x[i], targets[i], lr)
        loss = 0.5 * np.sum(net.layers[-1].error ** 2)
        return Outcome(float(loss), [a for layer in net.layers for a in (layer.weights, layer.bias)], blas_threads())

    return run


def softmax(x: Array) -> Array:
    """Softmax of the rows."""
    x = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return x / np.sum(x, axis=-1, keepdims=True)


class TwoLayerNet:
    """The book's network; its loss has no 1e-7 within the logarithm, as its gradient never had."""

    def __init__(self, params: dict[str, Array]) -> None:
        self.params = params

    def predict(self, x: Array) -> Array:
        """Class probabilities."""
        z1 = sigmoid(np.dot(x, self.params["W1"]) + self.params["b1"])
        return softmax(np.dot(z1, self.params["W2"]) + self.params["b2"])

    def loss(self, x: Array, t: Array) -> float:
        """Cross-entropy, averaged over the batch; t one-hot."""
        y = self.predict(x)
        return float(-np.sum(np.log(y[np.arange(len(y)), t.argmax(axis=1)])) / len(y))

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Gradient of the loss by back-propagation."""
        z1 = sigmoid(np.dot(x, self.params["W1"]) + self.params["b1"])
        y = softmax(np.dot(z1, self.params["W2"]) + self.params["b2"])
        dy = (y - t) / len(x)
        da1 = np.dot(dy, self.params["W2"].T) * (1 - z1) * z1
        return {
            "W1": np.dot(x.T, da1),
            "b1": np.sum(da1, axis=0),
            "W2": np.dot(z1.T, dy),
            "b2": np.sum(dy, axis=0),
        }


def mnist(problem: Problem, threads: int | None) -> Run:
    """The book's loop; the loss is taken before the update as everyone else's, a forward pass of its own as there."""
    net = TwoLayerNet(named(problem))
    x, targets, lr = problem.x, problem.targets, problem.job.lr

    def run(steps: int) -> Outcome:
        losses = []
        for batch in problem.batches(steps):
            x_batch, t_batch = x[batch], targets[batch]
            grad = net.gradient(x_batch, t_batch)
            losses.append(net.loss(x_batch, t_batch))
            for key in grad:
                net.params[key] -= lr * grad[key]
        return Outcome(losses[-1], list(net.params.values()), blas_threads())

    return run


def named(problem: Problem) -> dict[str, Array]:
    """The start as W1, b1, W2, b2."""
    return dict(zip(("W1", "b1", "W2", "b2"), (a for layer in problem.start() for a in layer), strict=True))


def numerical_gradient(f: Callable[[Array], float], x: Array, elements: NDArray[np.intp]) -> Array:
    """The book's loop, over some of the elements."""
    grad = np.zeros(len(elements))
    for k, idx in enumerate(zip(*np.unravel_index(elements, x.shape), strict=True)):
        tmp_val = x[idx]
        x[idx] = tmp_val + H
        fxh1 = f(x)
        x[idx] = tmp_val - H
        fxh2 = f(x)
        grad[k] = (fxh1 - fxh2) / (2 * H)
        x[idx] = tmp_val
    return grad


def gradcheck(problem: Problem, threads: int | None) -> Run:
    """The sampled elements; each costs the same, two losses, whichever array it is of."""
    net = TwoLayerNet(named(problem))
    x, targets, sample = problem.x, problem.targets, problem.sample()
    part = sum(map(len, sample)) / sum(a.size for a in net.params.values())

    def run(steps: int) -> Outcome:
        for _ in range(steps):
            slopes = [
                numerical_gradient(lambda _: net.loss(x, targets), param, elements)
                for param, elements in zip(net.params.values(), sample, strict=True)
            ]
        return Outcome(net.loss(x, targets), slopes, blas_threads(), part)

    return run


JOBS = {
    "moons": Entry(moons, note="the article's loop"),
    "mnist": Entry(mnist, note="the book's loop: gradient and loss, two forward passes"),
    "gradcheck": Entry(
        gradcheck, limit=1e-9, note="the book's loop, extrapolated from up to 100 elements of each of W1, b1, W2, b2"
    ),
}
