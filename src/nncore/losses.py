"""Losses for forward and backward: each returns the loss and its gradient by the outputs."""

from nncore.functions.losses import (
    absolute_error,
    binary_cross_entropy,
    hinge,
    huber,
    poisson,
    quantile,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    squared_error,
)

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "hinge",
    "huber",
    "poisson",
    "quantile",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "squared_error",
]
