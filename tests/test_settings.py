"""Settings that are numbers: every one refuses what is none, True among it, and is never decided by a NaN."""

import inspect
import json
import re
from fractions import Fraction

import numpy as np
import pytest

import nncore
from nncore import EarlyStopping, Layer, NeuralNetwork, losses
from nncore.core import checks
from nncore.files import models as persistence
from nncore.training import callbacks, optimizers, schedules

NET = NeuralNetwork([Layer(2, 2)], loss="softmax_cross_entropy", rng=0)
X, T = np.eye(2), np.array([0, 1])


# Every public setting that is a number: how it is given, and whether it is a whole one.
SETTINGS = {
    "lr": (optimizers.SGD, False),
    "momentum": (lambda v: optimizers.SGD(0.1, v), False),
    "weight_decay": (lambda v: optimizers.AdamW(0.1, weight_decay=v), False),
    "betas[0]": (lambda v: optimizers.Adam(0.1, betas=(v, 0.9)), False),
    "eps of Adam": (lambda v: optimizers.Adam(0.1, eps=v), False),
    "alpha of RMSprop": (lambda v: optimizers.RMSprop(0.1, alpha=v), False),
    "eps of AdaGrad": (lambda v: optimizers.AdaGrad(0.1, eps=v), False),
    "tol": (lambda v: optimizers.LBFGS(tol=v), False),
    "ftol": (lambda v: optimizers.LBFGS(ftol=v), False),
    "max_iter": (lambda v: optimizers.LBFGS(max_iter=v), True),
    "memory": (lambda v: optimizers.LBFGS(memory=v), True),
    "l1": (lambda v: Layer(1, 1, l1=v), False),
    "l2": (lambda v: Layer(1, 1, l2=v), False),
    "dropout": (lambda v: Layer(1, 1, dropout=v), False),
    "max_norm": (lambda v: Layer(1, 1, max_norm=v), False),
    "lr_scale": (lambda v: Layer(1, 1, lr_scale=v), False),
    "init": (lambda v: Layer(1, 1, init=v), False),
    "n_input": (lambda v: Layer(v, 1), True),
    "n_neurons": (lambda v: Layer(1, v), True),
    "delta": (lambda v: NeuralNetwork(loss="softmax_cross_entropy", delta=v), False),
    "label_smoothing": (lambda v: NeuralNetwork(loss="softmax_cross_entropy", label_smoothing=v), False),
    "input_scale": (lambda v: NeuralNetwork(input_scale=v), False),
    "h": (lambda v: NET.numerical_gradient(X, T, v), False),
    "learning_rate": (lambda v: NET.backpropagation(X, T, v), False),
    "batch_size": (lambda v: NET.fit(X, T, batch_size=v, epochs=1, progress=False), True),
    "epochs": (lambda v: NET.fit(X, T, epochs=v, progress=False), True),
    "iterations": (lambda v: NET.fit(X, T, iterations=v, progress=False), True),
    "n_threads": (lambda v: NET.predict(X, n_threads=v), True),
    "clip_norm": (lambda v: NET.fit(X, T, clip_norm=v, epochs=1, progress=False), False),
    "clip_value": (lambda v: NET.fit(X, T, clip_value=v, epochs=1, progress=False), False),
    "class_weight[0]": (lambda v: NET.fit(X, T, class_weight={0: v}, epochs=1, progress=False), False),
    "min_delta": (lambda v: EarlyStopping(min_delta=v), False),
    "patience": (lambda v: EarlyStopping(patience=v), True),
    "seconds": (callbacks.TimeLimit, False),
    "factor": (schedules.Exponential, False),
    "every": (schedules.Step, True),
    "final": (schedules.Cosine, False),
    "power": (schedules.InverseScaling, False),
    "threshold": (lambda v: schedules.ReduceOnPlateau(threshold=v), False),
    "minimum": (lambda v: schedules.ReduceOnPlateau(minimum=v), False),
    "slope": (lambda v: nncore.leaky_relu(1.0, v), False),
    "alpha": (lambda v: nncore.elu(1.0, v), False),
    "delta of the book": (lambda v: nncore.cross_entropy_error([0.5, 0.5], 0, v), False),
    "eps": (lambda v: nncore.binary_cross_entropy(0.5, 1, v), False),
    "base": (lambda v: nncore.entropy([0.5, 0.5], v), False),
    "delta of huber": (lambda v: losses.huber([1.0], [1.0], delta=v), False),
    "q": (lambda v: losses.quantile([1.0], [1.0], q=v), False),
    "delta of a loss": (lambda v: losses.softmax_cross_entropy([[1.0, 2.0]], [0], delta=v), False),
    "weight_init_std": (lambda v: nncore.TwoLayerNet(2, 2, 2, v), False),
}
NO_NUMBERS = {
    "True": True, "NumPy's True": np.True_, "text": "0.5", "bytes": b"0.5", "a complex number": 0.5 + 0j,
    "an array": np.array([0.5]), "a list": [0.5], "NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf,
    "a huge integer": 10**400, "a huge negative one": -(10**400), "one that cannot be printed": 10**5000,
}  # fmt: skip


@pytest.mark.parametrize("what", NO_NUMBERS)
@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_no_number_is_refused_in_a_sentence(name, what):
    give, _ = SETTINGS[name]
    argument = name.split(" of ")[0]
    before = NET.core.params.copy()
    with pytest.raises((TypeError, ValueError), match=rf"^{re.escape(argument)}( .*)? is .*, expected ") as caught:
        give(NO_NUMBERS[what])
    assert len(str(caught.value)) < 400
    np.testing.assert_array_equal(NET.core.params, before)


@pytest.mark.parametrize("value", [Fraction(1, 2), np.float32(0.5), np.array(0.5), 0.5])
def test_numbers_of_other_kinds_are_taken(value):
    assert checks.positive_float(value, "x") == 0.5
    assert checks.fraction(value, "x") == 0.5


def test_every_check_of_a_number_refuses_a_nan():
    """Whatever is added to the checks: those whose result is a number."""
    functions = filter(inspect.isfunction, vars(checks).values())
    of_numbers = [function for function in functions if function.__annotations__.get("return") in (int, float)]
    assert len(of_numbers) >= 8
    for check in of_numbers:
        parameters = list(inspect.signature(check).parameters)
        if parameters == ["value", "name"]:
            for value in NO_NUMBERS.values():
                with pytest.raises((TypeError, ValueError), match=r"^x is "):
                    check(value, "x")


def test_a_model_file_with_a_huge_number(tmp_path):
    net, path = NeuralNetwork([Layer(1, 1)]), tmp_path / "huge.safetensors"
    text = json.dumps(persistence._architecture(net)).replace('"l2": 0.0', '"l2": 1' + "0" * 400)
    path.write_bytes(persistence.to_safetensors(persistence.tensors_of(net), {"architecture": text}))
    with pytest.raises(ValueError, match="l2 is a whole number of about 401 digits, expected a finite number of 0"):
        NeuralNetwork.load(path)


@pytest.mark.parametrize("parameter", ["True", "nan", "inf", "1e999", "0.5, 1", ""])
def test_a_parameter_in_parentheses_is_a_number(parameter):
    with pytest.raises((TypeError, ValueError), match="the parameter of loss 'huber' is"):
        NeuralNetwork(loss=f"huber({parameter})")
