"""class OnlineModel: a model that is updated one batch at a time, as data come in."""

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks, threads
from nncore.data import batches, inputs
from nncore.model.model import Model
from nncore.training import divergence
from nncore.training.optimizers import SGD
from nncore.training.update_rule import Optimizer, rule_and_state

Array = NDArray[Any]


class OnlineModel(Model):
    """A model with updates by single samples or batches; NeuralNetwork has fit besides."""

    def backpropagation(self, X: ArrayLike, y: ArrayLike, learning_rate: float) -> None:
        """Make one gradient descent update, with one sample or the mean over a batch.

        Parameters
        ----------
        X, y : array_like
            As X and t in loss.
        learning_rate : float
            Above 0.

        Raises
        ------
        TypeError, ValueError
            If X or y does not fit the network, or the learning rate is not above 0.
        FloatingPointError
            As partial_fit.
        """
        lr = checks.positive_float(learning_rate, "learning_rate")
        rows, targets, single = batches.batch(self, X, y, "X", "y", kind=self.input_kind or inputs.NUMBERS)
        with self.core.training("backpropagation"):
            loss = self._update(rows, targets, lr)
            self._single_sample = single
            if not loss <= self.loss_limit:
                self.loss_limit = divergence.limit_after(self, loss)
        if self.input_kind is None:
            self._trained_on_first(X, rows)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, *, optimizer: Optimizer | None = None) -> float:
        """Make one update, with one sample or the mean over a batch, as data come in.

        Parameters
        ----------
        X, y : array_like
            As X and t in loss.
        optimizer : Optimizer, optional
            By default that of this network's last fit or partial_fit, whose state is kept; at first SGD().

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        TypeError, ValueError
            If X or y does not fit the network.
        FloatingPointError
            If the loss is not finite; nothing has changed then. If the loss and the largest parameter have grown by a
            factor of 1e10 since the first updates: training has diverged, and parameters of before are gone, so keep a
            copy of what must not be lost.

        Examples
        --------
        >>> from nncore import SGD, Layer, NeuralNetwork
        >>> net, optimizer = NeuralNetwork([Layer(1, 1)], rng=0), SGD(0.1)
        >>> for x in np.random.default_rng(0).uniform(-1, 1, 1000):
        ...     loss = net.partial_fit([x], [2 * x + 1], optimizer=optimizer)
        >>> net.predict([0.5]).round(3)
        array([2.])
        """
        if optimizer is None:
            optimizer = self.optimizer or SGD()
        rows, targets, single = batches.batch(self, X, y, "X", "y", kind=self.input_kind or inputs.NUMBERS)
        with self.core.training("partial_fit"):
            before = self.trained_with
            rule, state = rule_and_state(self, optimizer)
            loss = self._update(rows, targets, optimizer.lr, rule, state)
            self._single_sample = single
            if not loss <= self.loss_limit:
                if not isfinite(loss):
                    self.trained_with = before
                self.loss_limit = divergence.limit_after(self, loss)
        if self.input_kind is None:
            self._trained_on_first(X, rows)
        return loss

    def _trained_on_first(self, X: ArrayLike, rows: Array) -> None:
        """Note what kind of numbers the network is trained on, by its first sample or batch."""
        inputs.trained_on(self, inputs.kind_of(X, rows, inputs.scale_with(self, inputs.BYTES)))

    def _update(self, rows: Array, targets: Array, lr: float, *rule: Any) -> float:
        """Make one update with the samples; return the loss before it."""
        core, n = self.core, len(rows)
        if core.has_dropout or core.has_batch_norm:
            return self._masked_update(rows, targets, lr, *rule)
        if n == 1:  # without products
            return core.step(rows, targets, lr, *rule)
        with threads.single_threaded_blas(n * self.n_params):
            return core.step(rows, targets, lr, *rule)

    def _masked_update(self, rows: Array, targets: Array, lr: float, *rule: Any) -> float:
        """Make one update as fit does, with dropout and the moments of the batch; the masks go on where they ended."""
        if self._seed is None:
            self._seed = int(self.rng.integers(1 << 63))
        loss, n = np.empty(1), len(rows)
        with threads.single_threaded_blas(n * self.n_params):
            self.core.train(
                rows, targets, None, np.arange(n), 0, n, n, lr, loss, *rule, seed=self._seed, first_step=self._masks
            )
        self._masks += 1
        return float(loss[0])

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer of the last fit or partial_fit; its state for this network is kept."""
        used: Optimizer | None = self.trained_with[0]
        return used
