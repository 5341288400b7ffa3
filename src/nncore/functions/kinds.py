"""The kinds of activations and losses: their numbers in the core, their parameters, what fits them."""

from nncore.core import checks
from nncore.core.dispatch import activation as core_activation
from nncore.core.dispatch import loss as core_loss

CUSTOM = "custom"
ACTIVATIONS = core_activation.ACTIVATIONS
# Those with a parameter in parentheses: its default, and the check that says what it may be.
ACTIVATION_PARAMS = {"leaky_relu": (0.01, checks.non_negative_float), "elu": (1.0, checks.positive_float)}
LOSSES = core_loss.LOSSES
# Those with a parameter in parentheses: its default, and the check that says what it may be.
LOSS_PARAMS = {"huber": (1.0, checks.positive_float), "quantile": (0.5, checks.inner_fraction)}
# What losses are called elsewhere.
OTHER_NAMES = {
    "mse": "squared_error", "mean_squared_error": "squared_error", "l2": "squared_error", "mae": "absolute_error",
    "l1": "absolute_error", "pinball": "quantile", "log_loss": "softmax_cross_entropy",
    "cross_entropy": "softmax_cross_entropy", "crossentropy": "softmax_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy", "sparse_categorical_crossentropy": "softmax_cross_entropy",
    "nll": "softmax_cross_entropy", "bce": "sigmoid_cross_entropy", "binary_crossentropy": "sigmoid_cross_entropy",
    "bce_with_logits": "sigmoid_cross_entropy",
}  # fmt: skip
# Losses that ask for certain outputs: the activations that the last layer may have.
LAST_ACTIVATIONS = {
    "softmax_cross_entropy": ("identity", "softmax"),
    "sigmoid_cross_entropy": ("identity", "sigmoid"),
    "binary_cross_entropy": ("sigmoid", "hard_sigmoid", "softmax", CUSTOM),
}
