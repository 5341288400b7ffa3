"""NumPy: the article's and the book's loops. In float64 they say what every peer has to compute."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from benchmarks.peers import Entry, Outcome, Run, predicted
from benchmarks.problem import Array, H, Problem


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


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda a: np.maximum(a, 0), "sigmoid": sigmoid, "tanh": np.tanh, "softmax": softmax, "identity": lambda a: a
}  # fmt: skip
# from the output
DERIVATIVES: dict[str, Callable[[Array], Array]] = {"relu": lambda z: z > 0, "sigmoid": lambda z: z * (1 - z)}


class Dense:
    """Layers of any number, with a loss whose gradient by the last sums is y - t.

    That is softmax with cross-entropy, and linear outputs with the squared error.
    """

    def __init__(self, problem: Problem) -> None:
        self.layers, job = problem.start(), problem.job
        self.names = [job.activation] * (len(self.layers) - 1) + [job.output]
        self.z: list[Array] = []

    @property
    def params(self) -> list[Array]:
        """W1, b1, W2, ..."""
        return [a for layer in self.layers for a in layer]

    def forward(self, x: Array) -> Array:
        """Output for rows; each layer's is kept."""
        self.z = [x]
        for (W, b), name in zip(self.layers, self.names, strict=True):
            self.z.append(ACTIVATIONS[name](self.z[-1] @ W + b))
        return self.z[-1]

    def gradient(self, t: Array) -> list[Array]:
        """Gradient of the mean loss by the parameters, for the last rows."""
        da = (self.z[-1] - t) / len(t)
        grads = []
        for k in reversed(range(len(self.layers))):
            grads += [da.sum(axis=0), self.z[k].T @ da]
            if k:
                da = da @ self.layers[k][0].T * DERIVATIVES[self.names[k - 1]](self.z[k])
        return grads[::-1]


class SGD:
    """p = p - lr * g."""

    def __init__(self, params: list[Array], lr: float) -> None:
        self.params, self.lr = params, lr

    def update(self, grads: list[Array]) -> None:
        """One step."""
        for p, g in zip(self.params, grads, strict=True):
            p -= self.lr * g


class Adam(SGD):
    """Adam as PyTorch writes it."""

    def __init__(self, params: list[Array], lr: float) -> None:
        super().__init__(params, lr)
        self.m, self.v = ([np.zeros_like(p) for p in params] for _ in range(2))
        self.t = 0

    def update(self, grads: list[Array]) -> None:
        """One step."""
        self.t += 1
        lr, scale = self.lr / (1 - 0.9**self.t), math.sqrt(1 - 0.999**self.t)
        for p, g, m, v in zip(self.params, grads, self.m, self.v, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= lr * m / (np.sqrt(v) / scale + 1e-8)


OPTIMIZERS = {"sgd": SGD, "adam": Adam}


def train(problem: Problem, threads: int | None) -> Run:
    """Layers of any number, a batch a step."""
    net = Dense(problem)
    optimizer = OPTIMIZERS[problem.job.optimizer](net.params, problem.job.lr)
    x, targets = problem.x, problem.targets

    def run(steps: int) -> Outcome:
        for batch in problem.batches(steps):
            t = targets[batch]
            loss = -np.mean(np.log(np.sum(net.forward(x[batch]) * t, axis=1)))
            optimizer.update(net.gradient(t))
        return Outcome(float(loss), net.params, blas_threads())

    return run


def online(problem: Problem, threads: int | None) -> Run:
    """One sample a call."""
    net = Dense(problem)
    optimizer = SGD(net.params, problem.job.lr)
    rows = list(zip(problem.pieces, problem.targets[:, None], strict=True))

    def run(steps: int) -> Outcome:
        for _ in range(steps // len(rows)):
            for x, t in rows:
                net.forward(x)
                optimizer.update(net.gradient(t))
        return Outcome(half_square(net.forward(x), t), net.params, blas_threads())

    return run


def half_square(y: Array, t: Array) -> float:
    """The loss of one sample."""
    return float(0.5 * np.sum(np.square(y - t)))


def predict(problem: Problem, threads: int | None) -> Run:
    """The layers' formulas."""
    net, pieces = Dense(problem), problem.pieces

    def run(steps: int) -> Outcome:
        for _ in range(steps // len(pieces)):
            for x in pieces:
                y = net.forward(x)
        return predicted(y, blas_threads())

    return run


JOBS = {
    "moons": Entry(moons, note="the article's loop"),
    "mnist": Entry(mnist, note="the book's loop: gradient and loss, two forward passes"),
    "gradcheck": Entry(
        gradcheck, limit=1e-9, note="the book's loop, extrapolated from up to 100 elements of each of W1, b1, W2, b2"
    ),
    "medium": Entry(train),
    "wide": Entry(train),
    "predict-small": Entry(predict),
    "predict": Entry(predict),
    "predict-many": Entry(predict),
    "online": Entry(online),
}
