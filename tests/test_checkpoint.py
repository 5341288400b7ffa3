"""A run that was interrupted, or killed, goes on to the same bits; what is damaged or of another run is refused."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import nncore
from nncore import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Cosine,
    EarlyStopping,
    Layer,
    NeuralNetwork,
    ReduceOnPlateau,
    RMSprop,
    WarmUp,
    checkpoint,
    training,
)
from nncore.optimizers import OPTIMIZERS

N, TOTAL, BATCH = 53, 150, 5  # 11 updates an epoch, the last of three samples; the run ends within an epoch


@pytest.fixture
def data(rng):
    x = rng.normal(size=(N, 4))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def classifier(dtype=np.float64, rng=0):
    layers = [Layer(4, 6, "tanh"), Layer(6, 3)]
    return NeuralNetwork(layers, loss="softmax_cross_entropy", rng=rng, dtype=dtype)


def fit(net, data, **settings):
    return net.fit(*data, **{"batch_size": BATCH, "iterations": TOTAL, "progress": False, "rng": 1, **settings})


def outcome(net, history):
    """All that two runs must share, to the bit."""
    rates = [] if history.lr is None else history.lr
    columns = itertools.chain(*history.epoch_columns().values())
    state = net._optimizer[1]
    return np.concatenate(
        [net.core.params, history.loss, rates, history.epoch_ends, list(columns), state.vectors.ravel(), [state.n_steps]]
    )


class Killed(BaseException):
    """What no part of the library catches, as if the process were gone."""


@pytest.fixture
def ends(monkeypatch):
    """ends(step, error) lets the next run raise error once so many more steps are done."""
    steps = SimpleNamespace(left=None, error=None)

    def update(bar, n):
        if steps.left is not None and n == 1:
            steps.left -= n
            if steps.left <= 0:
                steps.left = None
                raise steps.error

    def arm(step, error):
        steps.left, steps.error = step, error

    monkeypatch.setattr(training.NoBar, "update", update)
    monkeypatch.setattr(training, "CHUNK_SECONDS", 0.0)  # chunks of one step
    return arm


SETTINGS = {
    "plain": {},
    "sequential": {"sampling": "sequential"},
    "replacement": {"sampling": "replacement"},
    "schedule": {"schedule": WarmUp(20, Cosine(0.1))},
    "plateau": {"schedule": ReduceOnPlateau(1, 0.5), "validation_data": True},
    "stopping": {"early_stopping": EarlyStopping("loss", 3, restore_best=False), "validation_data": True},
    "best": {"early_stopping": EarlyStopping(patience=100), "validation_data": True, "metrics": ["auc", "train_loss"]},
    "weights": {"class_weight": "balanced", "callbacks": [lambda history: None]},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("optimizer", [SGD, lambda: SGD(0.05, momentum=0.9), AdaGrad, RMSprop, Adam, AdamW])
def test_interrupted_and_killed_runs_go_on_to_the_same_bits(data, tmp_path, ends, name, optimizer, seed):
    """Ctrl-C and kills at random steps, each time a new network with other weights and another generator."""
    settings = dict(SETTINGS[name])
    if settings.get("validation_data"):
        settings["validation_data"] = data
    whole = classifier()
    expected = outcome(whole, fit(whole, data, optimizer=optimizer(), **settings))
    rng = np.random.default_rng(seed)
    settings |= {"checkpoint": tmp_path / "run.ckpt", "checkpoint_every": int(rng.integers(1, 30)), "resume": True}
    for interruption in range(3):
        net, history = classifier(rng=interruption), None
        ends(rng.integers(1, 60), KeyboardInterrupt if rng.random() < 0.5 else Killed)
        try:
            history = fit(net, data, optimizer=optimizer(), **settings)
        except Killed:
            continue
        assert history.interrupted or len(history.loss) == TOTAL or history.epochs - history.best_epoch >= 3
    ends(10**9, None)
    other = classifier(rng=99)
    fit(other, data, iterations=7)
    net = classifier(rng=5)
    history = fit(net, data, optimizer=optimizer(), rng=6, **settings)
    np.testing.assert_array_equal(outcome(net, history), expected)
    assert not history.interrupted
