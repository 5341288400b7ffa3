"""The specification: the NumPy twin of every kernel, in float64, at most a few lines each.

A network is a list of layers (W, b or None, activation), its loss a name; grads is a list of (dW, db).
"""

import numpy as np
from scipy.special import erfc

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848

FORWARD = {
    "identity": lambda a: a,
    "relu": lambda a: np.maximum(a, 0),
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "leaky_relu(0.2)": lambda a: np.where(a < 0, 0.2 * a, a),
    "elu(1.5)": lambda a: np.where(a < 0, 1.5 * np.expm1(np.minimum(a, 0)), a),
    "selu": lambda a: SELU_SCALE * np.where(a < 0, SELU_ALPHA * np.expm1(np.minimum(a, 0)), a),
    "gelu": lambda a: a * normal(a),
    "silu": lambda a: a / (1 + np.exp(-a)),
    "softplus": lambda a: np.logaddexp(0, a),
    "mish": lambda a: a * np.tanh(np.logaddexp(0, a)),
    "softsign": lambda a: a / (1 + np.abs(a)),
    "hard_sigmoid": lambda a: np.clip((a + 3) / 6, 0, 1),
}
# By the outputs z; gelu, silu and mish, whose outputs do not say it, by a.
DERIVATIVE = {
    "identity": np.ones_like,
    "relu": lambda z: (z > 0) * 1.0,
    "tanh": lambda z: 1 - z**2,
    "sigmoid": lambda z: z * (1 - z),
    "leaky_relu(0.2)": lambda z: np.where(z > 0, 1, 0.2),
    "elu(1.5)": lambda z: np.where(z < 0, z + 1.5, 1),
    "selu": lambda z: np.where(z < 0, z + SELU_SCALE * SELU_ALPHA, SELU_SCALE),
    "gelu": lambda a: normal(a) + a * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi),
    "silu": lambda a: (1 + a / (1 + np.exp(a))) / (1 + np.exp(-a)),
    "softplus": lambda z: -np.expm1(-z),
    "mish": lambda a: np.tanh(np.logaddexp(0, a)) + a / np.cosh(np.logaddexp(0, a)) ** 2 / (1 + np.exp(-a)),
    "softsign": lambda z: (1 - np.abs(z)) ** 2,
    "hard_sigmoid": lambda z: ((z > 0) & (z < 1)) / 6,
}
BY_INPUT = ("gelu", "silu", "mish")


def normal(a):
    """The standard normal distribution function."""
    return erfc(-a / np.sqrt(2)) / 2


def log_sum_exp(a):
    top = a.max(axis=-1, keepdims=True)
    return top + np.log(np.exp(a - top).sum(axis=-1, keepdims=True))


def softmax(a):
    return np.exp(a - log_sum_exp(a))


def softmax_backward(y, dy):
    return y * (dy - (y * dy).sum(axis=-1, keepdims=True))


def dense_forward(x, W, b):
    return x @ W + (0 if b is None else b)


def dense_backward(x, W, da):
    return x.T @ da, da.sum(axis=0), da @ W.T


# Terms of losses that are sums over outputs, and their derivatives.
TERM = {
    "squared_error": lambda y, t: (y - t) ** 2 / 2,
    "absolute_error": lambda y, t: np.abs(y - t),
    "huber(0.7)": lambda y, t: np.where(np.abs(y - t) <= 0.7, (y - t) ** 2 / 2, 0.7 * (np.abs(y - t) - 0.35)),
    "log_cosh": lambda y, t: np.logaddexp(y - t, t - y) - np.log(2),
    "quantile(0.8)": lambda y, t: np.maximum(0.8 * (t - y), -0.2 * (t - y)),
    "poisson": lambda y, t: np.exp(y) - t * y,
    "sigmoid_cross_entropy": lambda y, t: np.logaddexp(0, y) - t * y,
    "binary_cross_entropy": lambda y, t: -t * np.maximum(np.log(y), -100) - (1 - t) * np.maximum(np.log1p(-y), -100),
    "hinge": lambda y, t: np.maximum(0, 1 - t * y),
}
SLOPE = {
    "squared_error": lambda y, t: y - t,
    "absolute_error": lambda y, t: np.sign(y - t),
    "huber(0.7)": lambda y, t: np.clip(y - t, -0.7, 0.7),
    "log_cosh": lambda y, t: np.tanh(y - t),
    "quantile(0.8)": lambda y, t: np.where(y > t, 0.2, -0.8),
    "poisson": lambda y, t: np.exp(y) - t,
    "sigmoid_cross_entropy": lambda y, t: 1 / (1 + np.exp(-y)) - t,
    "binary_cross_entropy": lambda y, t: (y - t) / (y * (1 - y)),
    "hinge": lambda y, t: np.where(t * y < 1, -t, 0),
}


def random_bits(key, n):
    """32 bits for the counters below n: dropout.h."""

    def mixed(x):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
        return x ^ (x >> np.uint32(16))

    first = mixed(np.arange(n, dtype=np.uint32) + np.uint32(key & 0xFFFFFFFF))
    return mixed(first ^ np.uint32(key >> 32))


def part_key(key, part):
    """The key of a part of what has this key."""
    x = (key + (part + 1) * 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31) or 1


def dropout_mask(seed, step, layer, rate, shape):
    """The factors of a layer's outputs (n_samples, n_out) in a step."""
    key = part_key(part_key(seed, step), layer)
    dropped = random_bits(key, int(np.prod(shape))) < int(rate * 2**32)
    return np.where(dropped, 0, 1 / (1 - rate)).reshape(shape)


def cross_entropy(y, t, delta):
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.where(t == 0, 0, t * np.log(y + delta)).sum(), np.where(t == 0, 0, -t / (y + delta))


def softmax_cross_entropy(a, t, delta):
    if delta == 0:
        return (t * (log_sum_exp(a) - a)).sum(), softmax(a) * t.sum(axis=-1, keepdims=True) - t
    loss, dy = cross_entropy(softmax(a), t, delta)
    return loss, softmax_backward(softmax(a), dy)


def one_hot(labels, n_classes):
    return np.eye(n_classes)[labels]


def network_forward(layers, x):
    """The outputs of every layer, x first; a softmax layer's as probabilities."""
    zs = [x]
    for W, b, activation in layers:
        a = dense_forward(zs[-1], W, b)
        zs.append(softmax(a) if activation == "softmax" else FORWARD[activation](a))
    return zs


def sample_loss(loss, activation, y, t, delta):
    """The loss of rows of outputs (probabilities for a softmax layer) summed up, and its gradient by them."""
    if loss in TERM:
        return TERM[loss](y, t).sum(), SLOPE[loss](y, t)
    return (cross_entropy if activation == "softmax" else softmax_cross_entropy)(y, t, delta)


def network_loss(layers, loss, x, t, delta=0.0, weights=None):
    """The mean loss by the weights, one sample at a time."""
    weights = np.ones(len(x)) if weights is None else weights
    total = 0.0
    for i, weight in enumerate(weights):
        y = network_forward(layers, x[i : i + 1])[-1]
        total += weight * sample_loss(loss, layers[-1][2], y, t[i : i + 1], delta)[0]
    return total / weights.sum()


def network_gradient(layers, loss, x, t, delta=0.0, weights=None):
    """(dW, db) of every layer and dx, of the mean loss by the weights."""
    weights = np.ones(len(x)) if weights is None else weights
    zs = network_forward(layers, x)
    dz = (weights / weights.sum())[:, None] * sample_loss(loss, layers[-1][2], zs[-1], t, delta)[1]
    grads = []
    for (W, b, activation), x_in, z in reversed(list(zip(layers, zs[:-1], zs[1:], strict=True))):
        if activation == "softmax":
            da = softmax_backward(z, dz)
        else:
            da = dz * DERIVATIVE[activation](dense_forward(x_in, W, b) if activation in BY_INPUT else z)
        dW, db, dz = dense_backward(x_in, W, da)
        grads.insert(0, (dW, db))
    return grads, dz


def numerical_gradient(f, x, h=None):
    """Central differences and, from twice the step, the truncation error that is left in them."""
    grad, error = np.zeros(x.shape), np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        value = x[i]
        step = h or np.finfo(float).eps ** (1 / 3) * max(1.0, abs(value))

        def slope(step, i=i, value=value):
            x[i] = value + step
            up = f()
            x[i] = value - step
            down = f()
            x[i] = value
            return (up - down) / (2 * step), 8 * np.finfo(float).eps * (abs(up) + abs(down) + 1) / step

        near, rounding = slope(step)
        far, _ = slope(2 * step)
        grad[i], error[i] = near, abs(far - near) + rounding
    return grad, error


def sgd_steps(layers, loss, x, t, index, batch_size, lr, delta=0.0):
    """Plain loop over batches; changes the arrays of layers and returns the losses before each update."""
    losses = []
    for start in range(0, len(index), batch_size):
        rows = index[start : start + batch_size]
        losses.append(network_loss(layers, loss, x[rows], t[rows], delta))
        for (W, b, _), (dW, db) in zip(layers, network_gradient(layers, loss, x[rows], t[rows], delta)[0], strict=True):
            W -= lr * dW
            if b is not None:
                b -= lr * db
    return losses


def article_loop(layers, X, y, learning_rate, steps):
    """The article's loop over single samples (one-hot y), its biases updated: error, delta, update of each layer."""
    for step in range(steps):
        x = X[step % len(X)]
        zs = network_forward(layers, x[None])
        deltas = [None] * len(layers)
        for i in reversed(range(len(layers))):
            error = y[step % len(X)] - zs[-1] if i == len(layers) - 1 else deltas[i + 1] @ layers[i + 1][0].T
            deltas[i] = error * DERIVATIVE[layers[i][2]](zs[i + 1])
        for (W, b, _), delta, z in zip(layers, deltas, zs[:-1], strict=True):
            W += learning_rate * z.T @ delta
            b += learning_rate * delta[0]


def book_loop(params, x_train, t_train, index, lr):
    """The book's mini-batch loop for TwoLayerNet: t_train one-hot, index (steps, batch_size)."""
    losses = []
    for rows in index:
        x, t = x_train[rows], t_train[rows]
        z1 = FORWARD["sigmoid"](x @ params["W1"] + params["b1"])
        y = softmax(z1 @ params["W2"] + params["b2"])
        losses.append(-np.sum(t * np.log(y + 1e-7)) / len(x))
        # the exact gradient of that loss: the book's (y - t) but for a factor p / (p + 1e-7)
        da2 = softmax_backward(y, -t / (y + 1e-7)) / len(x)
        da1 = (da2 @ params["W2"].T) * z1 * (1 - z1)
        grads = {"W1": x.T @ da1, "b1": da1.sum(axis=0), "W2": z1.T @ da2, "b2": da2.sum(axis=0)}
        for key in params:
            params[key] -= lr * grads[key]
    return losses


# Update rules, each written as its paper has it: (p, g, history of a parameter, number of the update from 1) -> new p.


def sgd(p, g, past, i, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = g + weight_decay * p
    past["v"] = momentum * past.get("v", 0) + g
    return p - lr * (g + momentum * past["v"] if nesterov else past["v"])


def adagrad(p, g, past, i, lr, eps=1e-10, weight_decay=0.0):
    g = g + weight_decay * p
    past.setdefault("g", []).append(g)
    return p - lr * g / (np.sqrt(np.sum(np.square(past["g"]), axis=0)) + eps)


def rmsprop(p, g, past, i, lr, alpha=0.99, eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * p
    past.setdefault("g", []).append(g)
    mean = sum((1 - alpha) * alpha ** (i - k) * g_k**2 for k, g_k in enumerate(past["g"], start=1))
    return p - lr * g / (np.sqrt(mean) + eps)


def adam(p, g, past, i, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * p
    past["m"] = betas[0] * past.get("m", 0) + (1 - betas[0]) * g
    past["v"] = betas[1] * past.get("v", 0) + (1 - betas[1]) * g**2
    m, v = past["m"] / (1 - betas[0] ** i), past["v"] / (1 - betas[1] ** i)
    return p - lr * m / (np.sqrt(v) + eps)


def adamw(p, g, past, i, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    return adam(p, g, past, i, lr, betas, eps) - lr * weight_decay * p


def nadam(p, g, past, i, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=0.004):
    g = g + weight_decay * p
    mu, after = (betas[0] * (1 - 0.96 ** (k * momentum_decay) / 2) for k in (i, i + 1))
    past["momenta"] = past.get("momenta", 1) * mu
    past["m"] = betas[0] * past.get("m", 0) + (1 - betas[0]) * g
    past["v"] = betas[1] * past.get("v", 0) + (1 - betas[1]) * g**2
    size = np.sqrt(past["v"] / (1 - betas[1] ** i)) + eps
    ahead = past["momenta"] * after
    return p - lr * ((1 - mu) / (1 - past["momenta"]) * g + after / (1 - ahead) * past["m"]) / size
