"""Samples and targets as the engine takes them, checked against what a network says of itself."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks, target_checks
from nncore.core.dispatch import network as core_network
from nncore.data import inputs
from nncore.data.signature import Signature
from nncore.data.sparse_rows import SparseRows, is_sparse
from nncore.functions import domains

Array = NDArray[Any]


def rows(net: Signature, x: Any, name: str = "x", *, sparse: bool = False, kind: str | None = None) -> tuple[Any, bool]:
    """Rows for the engine, and whether it was a single sample; sparse rows stay so only where they may.

    kind: what it is trained on, if not what it was.
    """
    kind = kind or net.input_kind
    plain = core_network.plain_rows(x, net.n_in)
    if plain is not None:
        if kind == inputs.BYTES and plain.dtype != np.uint8:
            inputs.expect_scaled(plain, name, net.input_scale)
        return plain, plain is not x
    if is_sparse(x):

        def as_taken(stored: Array) -> Array:
            return inputs.same_numbers(stored, name, kind, net.input_scale)

        sparse_rows = SparseRows(x, name, net.n_in, as_taken)
        return sparse_rows if sparse else sparse_rows[:], False
    array = inputs.same_numbers(checks.numbers(x, name), name, kind, net.input_scale)
    return checks.samples(array, name, net.n_in), array.ndim == 1


def batch(
    net: Signature, x: ArrayLike, t: ArrayLike, x_name: str = "x", t_name: str = "t", *, sparse: bool = False,
    weights: ArrayLike | None = None, kind: str | None = None,
) -> tuple[Any, Array, bool]:  # fmt: skip
    """Rows and targets for the engine, and whether it was a single sample."""
    samples, single = rows(net, x, x_name, sparse=sparse, kind=kind)
    targets = core_network.plain_rows(t, net.n_out)
    if targets is None or len(targets) != len(samples) or targets.dtype.kind == "u":
        targets = target_checks.targets(t, t_name, len(samples), net.n_out)
    return samples, domains.targets_for(net.loss_kind, targets, t_name, weights), single


def weights_for(net: Signature, sample_weight: ArrayLike | None, n_samples: int) -> NDArray[np.float64] | None:
    """The weights of samples, if the loss can be weighted."""
    net.expect_unweighted(sample_weight)
    return target_checks.sample_weights(sample_weight, n_samples, net.n_out)
