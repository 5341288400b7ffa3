"""Schedules: factors are torch's and scikit-learn's, rates reach the updates, no bit depends on how a run is cut."""

import math
import re

import numpy as np
import pytest

from nncore import (
    SGD,
    Adam,
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    Layer,
    Linear,
    NeuralNetwork,
    ReduceOnPlateau,
    Schedule,
    Step,
    WarmUp,
)
from nncore.training import rates, schedules
from nncore.training import run as training

TOTAL = 40


def by_torch(make, steps=TOTAL):
    """The factors that a scheduler of torch makes of lr 1, one step an iteration."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def sequential(lib, optimizer, steps, second):
    first = lib.LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)
    return lib.SequentialLR(optimizer, [first, second], milestones=[steps])


TORCH = {
    "constant": (Constant(), lambda lib, o: lib.ConstantLR(o, factor=1.0)),
    "step": (Step(7, 0.3), lambda lib, o: lib.StepLR(o, 7, gamma=0.3)),
    "exponential": (Exponential(0.9), lambda lib, o: lib.ExponentialLR(o, 0.9)),
    "linear": (Linear(0.2), lambda lib, o: lib.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=TOTAL)),
    "cosine": (Cosine(0.1), lambda lib, o: lib.CosineAnnealingLR(o, TOTAL, eta_min=0.1)),
    "cosine to 0": (Cosine(), lambda lib, o: lib.CosineAnnealingLR(o, TOTAL)),
    "warm-up": (WarmUp(5), lambda lib, o: sequential(lib, o, 5, lib.ConstantLR(o, factor=1.0))),
    "warm-up, cosine": (WarmUp(8, "cosine"), lambda lib, o: sequential(lib, o, 8, lib.CosineAnnealingLR(o, TOTAL - 8))),
    "warm-up, step": (WarmUp(8, Step(3)), lambda lib, o: sequential(lib, o, 8, lib.StepLR(o, 3))),
}
ROOT = 0.5**0.5
RECORDED = {  # factors 0, 10, 20 and 30 of 40, from the formulas
    "constant": [1, 1, 1, 1],
    "step": [1, 0.3, 0.09, 0.0081],
    "exponential": [1, 0.9**10, 0.9**20, 0.9**30],
    "linear": [1, 0.8, 0.6, 0.4],
    "cosine": [1, 0.1 + 0.45 * (1 + ROOT), 0.55, 0.1 + 0.45 * (1 - ROOT)],
    "cosine to 0": [1, (1 + ROOT) / 2, 0.5, (1 - ROOT) / 2],
    "warm-up": [1 / 6, 1, 1, 1],
    "warm-up, cosine": [1 / 9, *((1 + math.cos(math.pi * i / 32)) / 2 for i in (2, 12, 22))],
    "warm-up, step": [1 / 9, 1, 1e-4, 1e-7],
}


@pytest.mark.parametrize("name", TORCH)
def test_factors_are_torchs(name):
    schedule, make = TORCH[name]
    np.testing.assert_allclose(schedule.factors(0, TOTAL, TOTAL), by_torch(make), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_factors(name):
    factors = TORCH[name][0].factors(0, TOTAL, TOTAL)
    np.testing.assert_allclose(factors[[0, 10, 20, 30]], RECORDED[name], rtol=1e-9)


def test_inverse_scaling_is_scikit_learns():
    from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

    optimizer = SGDOptimizer([np.zeros(1)], learning_rate_init=1.0, lr_schedule="invscaling", power_t=0.3)
    rates = []
    for i in range(TOTAL):
        rates.append(optimizer.learning_rate)
        optimizer.iteration_ends(i + 1)
    np.testing.assert_allclose(InverseScaling(0.3).factors(0, TOTAL, TOTAL), rates, rtol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_reduce_on_plateau_is_torchs(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    settings = {"factor": 0.5, "patience": int(rng.integers(0, 4)), "threshold": 0.01}
    metric = np.abs(np.cumsum(rng.normal(size=60))) + 0.1
    metric[7] = np.nan
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0.0, min_lr=1e-3, **settings)
    ours = ReduceOnPlateau(minimum=1e-3, **settings)
    for value in metric:
        optimizer.step()
        scheduler.step(value)
        ours.observe(value)
        assert ours.factors(0, 3, 9).tolist() == [optimizer.param_groups[0]["lr"]] * 3


def test_any_cut_gives_the_same_factors():
    for schedule, _ in TORCH.values():
        whole = schedule.factors(0, TOTAL, TOTAL)
        for cut in (1, 5, 8, 9, 39):
            parts = [schedule.factors(0, cut, TOTAL), schedule.factors(cut, TOTAL, TOTAL)]
            np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-15)


@pytest.fixture
def data(rng):
    x = rng.normal(size=(30, 4))
    return x, (x[:, 0] > 0).astype(int)


def classifier():
    return NeuralNetwork([Layer(4, 6, "tanh"), Layer(6, 2)], loss="softmax_cross_entropy", rng=0)


def fit(net, data, optimizer, **settings):
    return net.fit(
        *data, **{"optimizer": optimizer, "batch_size": 7, "iterations": TOTAL, "progress": False, "rng": 1, **settings}
    )


@pytest.mark.parametrize("make", [lambda lr: SGD(lr, momentum=0.9), Adam], ids=["momentum", "adam"])
def test_the_rates_reach_the_updates(data, make):
    """Against one update at a time, each with a rate of its own."""
    net, stepped = classifier(), classifier()
    history = fit(net, data, make(0.1), schedule=WarmUp(5, "cosine"), sampling="sequential")
    factors = WarmUp(5, "cosine").factors(0, TOTAL, TOTAL)
    np.testing.assert_allclose(history.lr, 0.1 * factors, rtol=1e-15)
    optimizer = make(0.1)
    for i in range(TOTAL):
        optimizer.lr = history.lr[i]
        first = i % 5 * 7
        stepped.partial_fit(data[0][first : first + 7], data[1][first : first + 7], optimizer=optimizer)
    np.testing.assert_allclose(net.core.params, stepped.core.params, rtol=0, atol=1e-13)


def test_constant_changes_nothing_and_chunks_neither(data, monkeypatch):
    monkeypatch.setattr(rates, "BLOCK", 16)

    def run(seconds, **settings):
        monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
        net = classifier()
        history = fit(net, data, Adam(0.05), **settings)
        return np.append(net.core.params, history.loss)

    np.testing.assert_array_equal(run(1.0, schedule="constant"), run(1.0))
    for schedule in ("cosine", Exponential(0.97), WarmUp(9, InverseScaling())):
        expected = run(1e9, schedule=schedule)
        assert not np.array_equal(expected, run(1e9))
        np.testing.assert_array_equal(run(0.0, schedule=schedule), expected)
        np.testing.assert_array_equal(run(0.0, schedule=schedule, callbacks=[lambda h: None]), expected)


def test_rates_are_computed_from_the_same_places_on(data, monkeypatch):
    """Their last bits may depend on it, however a run is cut."""
    monkeypatch.setattr(rates, "BLOCK", 16)
    monkeypatch.setattr(training, "CHUNK_SECONDS", 0.0)
    asked = set()

    class Asked(Schedule):
        def factors(self, first, last, total):
            asked.add((first, last))
            return np.linspace(1, 2, total)[first:last]

    fit(classifier(), data, SGD(0.1), schedule=Asked(), callbacks=[lambda history: None])
    assert {first % 16 for first, _ in asked} == {0}
    assert {last % 16 for _, last in asked} == {0, TOTAL % 16}


# How often PyTorch 2.13's ReduceLROnPlateau(factor=0.5, patience=1) has halved the rate after each of these values.
VALUES = (-1.0, -0.9999, -1.00005, -0.995, -1.2, -1.19, -1.21, -1.205, -1.195, -1.3, -1.29, -1.28, -1.1, 0.5, 0.4, 0.45)
VALUES += (0.401, 0.399)
HALVED = {
    ("min", "rel", 0.0001): "000000001112233445", ("min", "rel", 0.01): "000000000000011223",
    ("min", "abs", 0.0001): "001111112223344556", ("min", "abs", 0.01): "001111223334455667",
    ("max", "rel", 0.0001): "000001122334444556", ("max", "rel", 0.01): "000001122334444556",
    ("max", "abs", 0.0001): "001112233445555667", ("max", "abs", 0.01): "001122334455666778",
}  # fmt: skip


@pytest.mark.parametrize(("mode", "threshold_mode", "threshold"), HALVED)
def test_a_plateau_of_negative_metrics_as_in_torch(mode, threshold_mode, threshold, data):
    """By itself, and in a run that follows a metric of one's own."""
    settings = {"patience": 1, "factor": 0.5, "threshold": threshold, "threshold_mode": threshold_mode}
    expected = [0.5 ** int(n) for n in HALVED[mode, threshold_mode, threshold]]
    plateau, sign = ReduceOnPlateau(**settings), 1.0 if mode == "min" else -1.0
    found = []
    for value in VALUES:
        plateau.observe(sign * value, sign)
        found.append(plateau.factors(0, 1, 1)[0])
    assert found == expected
    values = iter(VALUES)
    history = fit(
        classifier(), data, SGD(1e-9), epochs=len(VALUES) + 1, batch_size=len(data[0]), iterations=None,
        schedule=ReduceOnPlateau(metric=lambda t, y: next(values, 0.0), mode=mode, **settings), validation_data=data,
    )  # fmt: skip
    np.testing.assert_allclose(history.lr[1:], 1e-9 * np.array(expected), rtol=1e-12)


@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_a_plateau_takes_nothing_infinite_for_an_improvement(threshold_mode):
    for worthless in (np.nan, np.inf, -np.inf):
        plateau = ReduceOnPlateau(patience=1, factor=0.5, threshold_mode=threshold_mode)
        for value in (worthless, 1.0, worthless, worthless, worthless, 0.5):
            plateau.observe(value)
        assert plateau.state == (0.5, 0.5, 0)


def test_a_plateau_lowers_the_rate_of_a_run(data):
    schedule = ReduceOnPlateau(patience=1, factor=0.1, metric="accuracy")
    for _ in range(2):  # the object is left as it was
        settings = {"schedule": schedule, "epochs": 6, "iterations": None, "validation_data": data}
        history = fit(classifier(), data, SGD(1e-9), **settings)
        np.testing.assert_allclose(history.lr[::5], 1e-9 * np.array([1, 1, 1, 0.1, 0.1, 0.01]), rtol=1e-12)
    follows_batches = WarmUp(7, ReduceOnPlateau(patience=1, factor=0.1, threshold=0.5))
    history = fit(classifier(), data, SGD(1e-9), schedule=follows_batches, epochs=6, iterations=None)
    assert history.lr[-1] == pytest.approx(1e-11, rel=1e-9)


def test_a_rate_that_a_callback_changes_is_scaled(data):
    optimizer = SGD(0.1)
    history = fit(
        classifier(), data, optimizer, schedule="linear", callbacks=[lambda h: setattr(optimizer, "lr", 0.01)]
    )
    np.testing.assert_allclose(history.lr[[0, 5]], [0.1, 0.01 * 35 / 40])


def test_a_schedule_of_ones_own(data):
    class Halves(Schedule):
        def __init__(self, wrong=False):
            self.wrong = wrong

        def factors(self, first, last, total):
            return np.full(last - first + self.wrong, 0.5)

    net, half = classifier(), classifier()
    fit(net, data, SGD(0.1), schedule=Halves())
    fit(half, data, SGD(0.05))
    np.testing.assert_array_equal(net.core.params, half.core.params)
    with pytest.raises(ValueError, match=r"Halves\(wrong=True\) gave an array of shape \(41,\) .*, expected 40 finite"):
        fit(net, data, SGD(0.1), schedule=Halves(True))


def test_the_rate_of_a_failure_is_named(data):
    data = data[0], np.eye(2)[data[1]]
    net = NeuralNetwork([Layer(4, 2)], rng=0)
    with pytest.raises(FloatingPointError, match=r"at iteration 12 with learning rate 1e\+300, expected a finite loss"):
        fit(net, data, SGD(1e-5), schedule=Leap())


class Leap(Schedule):
    """Large from iteration 11 on."""

    def factors(self, first, last, total):
        return np.where(np.arange(first, last) < 10, 1.0, 1e305)


def test_names_give_what_their_objects_do():
    assert {name: repr(schedules.schedule(name)) for name in schedules.SCHEDULES} == {
        "constant": "Constant()",
        "linear": "Linear(final=0.0)",
        "cosine": "Cosine(final=0.0)",
        "inverse_scaling": "InverseScaling(power=0.5)",
        "plateau": repr(ReduceOnPlateau()),
    }
    assert repr(WarmUp(3, "cosine")) == "WarmUp(steps=3, then=Cosine(final=0.0))"


BAD = {
    "name": (lambda: WarmUp(3, "cos"), "then is 'cos', expected one of 'constant', 'linear', 'cosine'"),
    "kind": (lambda: schedules.schedule(0.1), "schedule is 0.1, expected a schedule such as Cosine(), or one of"),
    "every": (lambda: Step(0), "every is 0, expected 1 or more"),
    "factor": (lambda: Exponential(0), "factor is 0, expected a finite number above 0"),
    "final": (lambda: Cosine(-1), "final is -1, expected a finite number of 0 or more"),
    "power": (lambda: InverseScaling("x"), "power is 'x', expected a finite number of 0 or more"),
    "steps": (lambda: WarmUp(1.5), "steps is 1.5, expected a whole number of 1 or more"),
    "patience": (lambda: ReduceOnPlateau(-1), "patience is -1, expected 0 or more"),
    "growing": (lambda: ReduceOnPlateau(factor=1), "factor is 1, expected a number above 0 and below 1"),
    "threshold mode": (lambda: ReduceOnPlateau(threshold_mode="x"), "threshold_mode is 'x', expected one of 'rel', "),
    "mode": (lambda: ReduceOnPlateau(mode="up"), "mode is 'up', expected one of 'auto', 'min', 'max'"),
}


@pytest.mark.parametrize("name", BAD)
def test_message(name):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()
