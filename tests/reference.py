"""The specification: the NumPy twin of every kernel, in float64, at most a few lines each.

A network is a list of layers (W, b or None, activation), its loss a name; grads is a list of (dW, db).
"""

import numpy as np

FORWARD = {
    "identity": lambda a: a,
    "relu": lambda a: np.maximum(a, 0),
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
}
DERIVATIVE = {
    "identity": np.ones_like,
    "relu": lambda z: (z > 0) * 1.0,
    "tanh": lambda z: 1 - z**2,
    "sigmoid": lambda z: z * (1 - z),
}


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


def squared_error(y, t):
    return 0.5 * ((y - t) ** 2).sum(), y - t


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


def network_loss(layers, loss, x, t, delta=0.0, weights=None):
    """The mean loss by the weights, one sample at a time."""
    weights = np.ones(len(x)) if weights is None else weights
    total = 0.0
    for i, weight in enumerate(weights):
        y = network_forward(layers, x[i : i + 1])[-1]
        if loss == "squared_error":
            total += weight * squared_error(y, t[i : i + 1])[0]
        elif layers[-1][2] == "softmax":
            total += weight * cross_entropy(y, t[i : i + 1], delta)[0]
        else:
            total += weight * softmax_cross_entropy(y, t[i : i + 1], delta)[0]
    return total / weights.sum()


def network_gradient(layers, loss, x, t, delta=0.0, weights=None):
    """(dW, db) of every layer and dx, of the mean loss by the weights."""
    weights = np.ones(len(x)) if weights is None else weights
    zs = network_forward(layers, x)
    scale = (weights / weights.sum())[:, None]
    if loss == "squared_error":
        dz = scale * squared_error(zs[-1], t)[1]
    elif layers[-1][2] == "softmax":
        dz = scale * cross_entropy(zs[-1], t, delta)[1]
    else:
        dz = scale * softmax_cross_entropy(zs[-1], t, delta)[1]
    grads = []
    for (W, _, activation), x_in, z in reversed(list(zip(layers, zs[:-1], zs[1:], strict=True))):
        da = softmax_backward(z, dz) if activation == "softmax" else dz * DERIVATIVE[activation](z)
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
