"""Random small trainings: the parameters that nncore and PyTorch reach from the same start with the same samples."""

import numpy as np
from cases import targets_of
from reference import softmax

from nncore import SGD, AdaGrad, Adam, AdamW, Layer, NAdam, NeuralNetwork, RMSprop

STEPS = 20
HIDDEN = (
    "identity", "relu", "leaky_relu(0.2)", "elu(1.5)", "selu", "gelu", "silu", "mish", "softplus", "softsign", "tanh",
    "sigmoid", "hard_sigmoid",
)  # fmt: skip
LOSSES = (
    "squared_error", "absolute_error", "huber(0.7)", "log_cosh", "quantile(0.8)", "poisson",
    "softmax_cross_entropy", "sigmoid_cross_entropy", "binary_cross_entropy", "hinge",
)  # fmt: skip
# Targets of softmax_cross_entropy; class weights are for labels.
KINDS = ("labels", "smoothed labels", "weighted labels", "soft")
OPTIMIZERS = {
    "SGD": (SGD, {"lr": 0.05}),
    "momentum": (SGD, {"lr": 0.02, "momentum": 0.9}),
    "nesterov": (SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "Adagrad": (AdaGrad, {"lr": 0.02}),
    "RMSprop": (RMSprop, {"lr": 0.005}),
    "Adam": (Adam, {"lr": 0.01}),
    "NAdam": (NAdam, {"lr": 0.01}),
    "AdamW": (AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}


class Training:
    """Everything that both sides need, drawn from a seed."""

    def __init__(self, seed):
        rng = self.rng = np.random.default_rng(seed)
        self.loss = str(rng.choice(LOSSES))
        self.sizes = [int(n) for n in rng.integers(1, 13, size=rng.integers(2, 5))]
        self.kind = str(rng.choice(KINDS)) if self.loss == "softmax_cross_entropy" else ""
        if self.kind:
            self.sizes[-1] += 1
        self.activations = [str(rng.choice(HIDDEN)) for _ in self.sizes[1:-1]] + [self.last()]
        self.params = [
            (rng.normal(size=(a, b)) / np.sqrt(a), rng.normal(size=b) * 0.3)
            for a, b in zip(self.sizes, self.sizes[1:], strict=False)
        ]
        self.optimizer = str(rng.choice(list(OPTIMIZERS)))
        self.batch_size = int(rng.integers(1, 9))
        self.n = 3 * self.batch_size
        self.x = rng.normal(size=(self.n, self.sizes[0]))
        self.t = self.targets()
        self.weights = None
        if self.kind != "weighted labels" and rng.random() < 0.4:
            shape = (self.n, self.sizes[-1])[: rng.integers(1, 3) if not self.kind else 1]
            self.weights = rng.random(shape) + 0.1
        self.class_weights = rng.random(self.sizes[-1]) + 0.1
        self.l1, self.l2 = (float(rng.random() * 0.1) if rng.random() < 0.3 else 0.0 for _ in range(2))
        self.clip_norm = 0.3 if self.loss == "poisson" or rng.random() < 0.3 else 0.0  # exp(y) may run away

    def last(self):
        fused = self.rng.random() < 0.5
        if self.loss == "binary_cross_entropy":
            return "sigmoid"
        return (
            {"softmax_cross_entropy": "softmax", "sigmoid_cross_entropy": "sigmoid"}.get(self.loss, "identity")
            if (fused)
            else "identity"
        )

    def targets(self):
        shape = (self.n, self.sizes[-1])
        if self.kind == "soft":
            return softmax(self.rng.normal(size=shape))
        return self.rng.integers(shape[1], size=self.n) if self.kind else targets_of(self.rng, self.loss, shape)

    def batches(self):
        return [np.arange(self.n)[k * self.batch_size :][: self.batch_size] for k in [0, 1, 2] * STEPS][:STEPS]

    def nncore(self, dtype):
        """The parameters as one vector."""
        layers = [
            Layer(*W.shape, f, W, b, l1=self.l1, l2=self.l2)
            for (W, b), f in zip(self.params, self.activations, strict=True)
        ]
        smoothing = 0.1 if self.kind == "smoothed labels" else 0.0
        net = NeuralNetwork(layers, loss=self.loss, dtype=dtype, label_smoothing=smoothing)
        kind, settings = OPTIMIZERS[self.optimizer]
        weights = self.class_weights[self.t] if self.kind == "weighted labels" else self.weights
        rule, core = kind(**settings), net.core
        x, t = self.x.astype(dtype), self.t if self.t.dtype == np.intp else self.t.astype(dtype)
        core.train(
            x, t, weights, np.concatenate(self.batches()), 0, self.n, self.batch_size, rule.lr, np.empty(STEPS),
            rule._rule(), rule._state(net.n_params, net.dtype), clip_norm=self.clip_norm,
        )  # fmt: skip
        return core.params.copy()

    def torch(self, dtype):
        """The same by PyTorch."""
        import torch

        kind = torch.float32 if dtype == np.float32 else torch.float64
        params = [[torch.tensor(p, dtype=kind, requires_grad=True) for p in pair] for pair in self.params]
        flat = [p for pair in params for p in pair]
        settings = dict(OPTIMIZERS[self.optimizer][1])
        name = "SGD" if self.optimizer in ("momentum", "nesterov") else self.optimizer
        optimizer = getattr(torch.optim, name)(flat, **settings)
        for rows in self.batches():
            x = torch.tensor(self.x[rows], dtype=kind)
            for (W, b), activation in zip(params, self.activations, strict=True):
                x = x @ W + b
                if activation not in ("softmax", "sigmoid") or (W is not params[-1][0]):
                    x = _activate(torch, activation, x)
            if self.loss == "binary_cross_entropy":
                x = torch.sigmoid(x)
            loss = self._torch_loss(torch, x, rows, kind)
            for W, _ in params:
                loss = loss + self.l1 * W.abs().sum() + self.l2 / 2 * (W**2).sum()
            optimizer.zero_grad()
            loss.backward()
            if self.clip_norm:
                torch.nn.utils.clip_grad_norm_(flat, self.clip_norm)
            optimizer.step()
        return np.concatenate([p.detach().numpy().ravel() for p in flat])

    def _torch_loss(self, torch, y, rows, kind):
        F = torch.nn.functional
        labels = self.t.dtype == np.intp
        t = torch.tensor(self.t[rows], dtype=torch.int64 if labels else kind)
        weights = None if self.weights is None else torch.tensor(self.weights[rows], dtype=kind)
        if self.kind == "weighted labels":
            return F.cross_entropy(y, t, weight=torch.tensor(self.class_weights, dtype=kind))
        name, _, param = self.loss.rstrip(")").partition("(")
        q = float(param or 0)
        terms = {
            "squared_error": lambda: F.mse_loss(y, t, reduction="none") / 2,
            "absolute_error": lambda: F.l1_loss(y, t, reduction="none"),
            "huber": lambda: F.huber_loss(y, t, reduction="none", delta=q),
            "log_cosh": lambda: torch.log(torch.cosh(y - t)),
            "quantile": lambda: torch.maximum(q * (t - y), (q - 1) * (t - y)),
            "poisson": lambda: F.poisson_nll_loss(y, t, log_input=True, full=False, reduction="none"),
            "softmax_cross_entropy": lambda: F.cross_entropy(
                y, t, reduction="none", label_smoothing=0.1 if self.kind == "smoothed labels" else 0.0
            )[:, None],
            "sigmoid_cross_entropy": lambda: F.binary_cross_entropy_with_logits(y, t, reduction="none"),
            "binary_cross_entropy": lambda: F.binary_cross_entropy(y, t, reduction="none"),
            "hinge": lambda: torch.clamp(1 - t * y, min=0),
        }[name]()
        if weights is None:
            return terms.sum(dim=1).mean()
        if weights.dim() == 2:
            return (weights * terms).sum() / len(rows)
        return (weights * terms.sum(dim=1)).sum() / weights.sum()


def _activate(torch, text, x):
    F = torch.nn.functional
    name, _, param = text.rstrip(")").partition("(")
    return {
        "identity": lambda: x,
        "relu": lambda: F.relu(x),
        "leaky_relu": lambda: F.leaky_relu(x, float(param or 0)),
        "elu": lambda: F.elu(x, float(param or 0)),
        "selu": lambda: F.selu(x),
        "gelu": lambda: F.gelu(x),
        "silu": lambda: F.silu(x),
        "mish": lambda: F.mish(x),
        "softsign": lambda: F.softsign(x),
        "softplus": lambda: F.softplus(x, threshold=1e9),
        "tanh": lambda: torch.tanh(x),
        "sigmoid": lambda: torch.sigmoid(x),
        "hard_sigmoid": lambda: F.relu6(x + 3) / 6,  # F.hardsigmoid goes back by 1 / 6 in float32
    }[name]()


def projections(params):
    """Three numbers that no error in a parameter leaves alone."""
    k = np.arange(1, len(params) + 1)
    return [float(params @ np.cos(k * f)) for f in (1.0, 2.3, 0.0)]
