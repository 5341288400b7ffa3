"""How good predictions are."""

from nncore.training.metrics import accuracy

__all__ = [
    "accuracy",
]
