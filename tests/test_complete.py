"""Every kind has all its places, and what is said of it in Python is what the core does.

A table for each registry names the places of a kind and tells whether it is there. CONTRIBUTING.md has them in order.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from test_optimizers import RULES

import nncore
from nncore import Layer, NeuralNetwork, losses
from nncore.cli import options
from nncore.cli.main import _parser
from nncore.core.dispatch import activation as core_activation
from nncore.core.dispatch import loss as core_loss
from nncore.core.dispatch import optimizer as core_optimizer
from nncore.files import c_header, formats, onnx_export
from nncore.functions import kinds
from nncore.functions.kinds import ACTIVATIONS, LOSSES, Activation, Loss
from nncore.model import passes
from nncore.model.layers import BATCH_NORM_EPS
from nncore.model.python_engine import PythonNetwork
from nncore.training.optimizers import OPTIMIZERS, Optimizer

FILES_PAGE = Path(__file__).parents[1] / "docs" / "files.md"


def quoted(name, text):
    """Whether a docstring has the name in quotes, with or without a parameter."""
    return re.search(rf'"{name}(\(\w+\))?"', text) is not None


def twin(name, table):
    """Whether a table of tests/reference.py has the name, with or without a parameter."""
    return name in {key.partition("(")[0] for key in table}


def kind_of(optimizer):
    """The core's number of an optimizer with its defaults, or None."""
    try:
        return optimizer()._rule()[0]
    except KeyError:
        return None


ACTIVATION_PLACES = {
    "a row of functions/kinds.py": lambda row: row.name in ACTIVATIONS,
    "a number in the core's activation.pyx": lambda row: row.name in core_activation.ACTIVATIONS,
    "a function in functions/activations.py and __init__.pyi": lambda row: row.name in nncore.__all__,
    "operators in ONNX": lambda row: row.name in onnx_export.ONNX,
    "an expression in files/c_header.py": lambda row: row.name in c_header.ACTIVATIONS,
    "torch in its row": lambda row: row.torch is not None or row.name == "identity",
    "FORWARD in tests/reference.py": lambda row: twin(row.name, ref.FORWARD) or hasattr(ref, row.name),
    "DERIVATIVE in tests/reference.py": lambda row: (
        twin(row.name, ref.DERIVATIVE) or hasattr(ref, f"{row.name}_backward")
    ),
    "the docstring of Layer": lambda row: quoted(row.name, Layer.__doc__),
    "nncore train --activation": lambda row: row.name in kinds.HIDDEN or not row.elementwise,
}
LOSS_PLACES = {
    "a row of functions/kinds.py": lambda row: row.name in LOSSES,
    "a number in the core's loss.pyx": lambda row: row.name in core_loss.LOSSES,
    "a function in losses.py": lambda row: callable(getattr(losses, row.name, None)),
    "TERM in tests/reference.py": lambda row: twin(row.name, ref.TERM) or hasattr(ref, row.name),
    "SLOPE in tests/reference.py": lambda row: twin(row.name, ref.SLOPE) or hasattr(ref, row.name),
    "the docstring of NeuralNetwork": lambda row: quoted(row.name, NeuralNetwork.__doc__),
}
OPTIMIZER_PLACES = {
    "a number in the core's optimizer.pyx": lambda cls: kind_of(cls) is not None,
    "a name in OPTIMIZERS of training/optimizers.py": lambda cls: cls in OPTIMIZERS.values(),
    "__init__.pyi": lambda cls: cls.__name__ in nncore.__all__,
    "a rule in tests/reference.py and RULES of tests/test_optimizers.py": lambda cls: (
        kind_of(cls) in {make(**settings)._rule()[0] for make, _, _, settings in RULES.values()}
    ),
    "the docstring of fit": lambda cls: quoted(cls.__name__.lower(), NeuralNetwork.fit.__doc__),
    "the help of nncore train --optimizer": lambda cls: (
        re.search(rf"\b{cls.__name__.lower()}\b", options.KNOWN["optimizer"].help) is not None
    ),
}
FORMAT_PLACES = {
    "a method of NeuralNetwork": lambda name: hasattr(NeuralNetwork, f"export_{name}"),
    "an ending in files/formats.py": lambda name: endings_of(name) <= set(formats.ENDINGS) and endings_of(name),
    "a call in docs/files.md": lambda name: f".export_{name}(" in FILES_PAGE.read_text("utf-8"),
}


def missing(kind, places):
    """The names of the places where a kind is not."""
    return [place for place, has in places.items() if not has(kind)]


def exporter():
    """The parser of nncore export."""
    return next(action for action in _parser()._actions if action.choices).choices["export"]


def endings_of(name):
    """The last ending of what nncore export --to writes, as the help of --out lists them by the order of --to."""
    named = dict(zip(export_formats(), re.findall(r" (\.[\w.]+)", exporter().format_help()), strict=True))
    return {f".{named[name].rpartition('.')[2]}"} if name in named else set()


def export_formats():
    """The formats that the help of nncore export --to has."""
    to = next(action for action in exporter()._actions if action.dest == "to")
    return re.findall(r"\w+", to.help.replace(" or ", " "))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_has_all_its_places(name):
    assert missing(ACTIVATIONS[name], ACTIVATION_PLACES) == []


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_all_its_places(name):
    assert missing(LOSSES[name], LOSS_PLACES) == []


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_has_all_its_places(name):
    assert missing(OPTIMIZERS[name], OPTIMIZER_PLACES) == []


@pytest.mark.parametrize("name", export_formats())
def test_a_format_has_all_its_places(name):
    assert missing(name, FORMAT_PLACES) == []


class Lion(Optimizer):
    """An optimizer that is nowhere else."""

    def __init__(self):
        super().__init__(0.1, 0.0)

    def _rule(self):
        return self._numbers("lion")


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        (Activation("maxout"), ACTIVATION_PLACES),
        (Loss("focal"), LOSS_PLACES),
        (Lion, OPTIMIZER_PLACES),
        ("tflite", FORMAT_PLACES),
    ],
)
def test_what_a_new_kind_lacks_is_named(kind, places):
    assert missing(kind, places) == list(places)


def test_one_missing_place_is_named(monkeypatch):
    monkeypatch.delitem(c_header.ACTIVATIONS, "gelu")
    monkeypatch.delitem(ref.TERM, "hinge")
    monkeypatch.delitem(OPTIMIZERS, "rmsprop")
    assert missing(ACTIVATIONS["gelu"], ACTIVATION_PLACES) == ["an expression in files/c_header.py"]
    assert missing(LOSSES["hinge"], LOSS_PLACES) == ["TERM in tests/reference.py"]
    expected = ["a name in OPTIMIZERS of training/optimizers.py"]
    assert missing(nncore.RMSprop, OPTIMIZER_PLACES) == expected


def test_the_core_has_no_kind_that_python_lacks():
    assert set(core_activation.ACTIVATIONS) == set(ACTIVATIONS)
    assert set(core_loss.LOSSES) == set(LOSSES)
    # the estimators' Adam with scikit-learn's place of eps
    assert set(core_optimizer.KINDS) - {"adam_hat"} == set(OPTIMIZERS)
    assert sorted(losses.__all__) == sorted(LOSSES)
    assert sorted(options.KNOWN["optimizer"].help.replace(" or ", ", ").split(", ")) == sorted(OPTIMIZERS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_what_their_rows_say(name):
    row = ACTIVATIONS[name]
    assert core_activation.keeps_slope(row.number) == row.keeps_slope
    if row.elementwise:
        z = getattr(nncore, name)(np.linspace(-50, 50, 10001))
        low, high = row.bounds
        assert z.min() >= low
        assert z.max() <= high
        bounded = np.ptp(getattr(nncore, name)([-1e3, 1e3])) < 3
        assert bounded == np.isfinite(row.bounds).all()


def kink_at(name, a):
    """Whether the core's differences see a kink of the activation at a."""
    net = NeuralNetwork([Layer(1, 1, name, weights=[[1.0]], bias=[a])])
    slope, truncation = np.empty(2), np.empty(2)
    found = passes.differences(net, np.zeros((1, 1)), np.full((1, 1), 9.0), 1e-4, 1, slope, truncation)
    return bool(found[1])


@pytest.mark.parametrize("name", [*kinds.HIDDEN, "elu(0.5)"])
def test_kinks_are_where_the_rows_say(name):
    net_layer = Layer(1, 1, name)
    kinks = ACTIVATIONS[net_layer.activation_name].kinks_with(net_layer.activation_param)
    for a in (-3.0, -1.0, 0.0, 1.0, 3.0):
        assert kink_at(name, a) == (a in kinks), (name, a)


@pytest.mark.parametrize("name", [name for name, row in LOSSES.items() if row.targets])
@pytest.mark.parametrize("value", [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, np.nan])
def test_targets_are_what_the_rows_say(name, value):
    row = LOSSES[name]
    t = np.array([[value, 1 - value]] if row.exclusive else [[value]])
    assert row.targets.fit(t).all() == (core_loss.first_misfit(row.number, t) < 0)
    coded = np.array([row.coding])
    assert not row.classes or core_loss.first_misfit(row.number, coded) < 0
    assert row.targets.expected == core_loss.TARGETS[name]


def test_losses_of_any_numbers_are_no_surprise_to_the_core():
    assert {name for name, row in LOSSES.items() if row.targets} == set(core_loss.TARGETS)


TANH = np.tanh, lambda a: 1 - np.tanh(a) ** 2


def both_gradients(hidden, loss, last, targets):
    """Of the core and of the engine for Python functions, which has tanh as one."""
    rng = np.random.default_rng(0)
    x, found = rng.normal(size=(6, 3)), []
    for first, kind in (("tanh", False), (TANH, True)):
        net = NeuralNetwork([Layer(3, 4, first), Layer(4, 5, hidden), Layer(5, 3, last)], loss=loss, rng=1)
        assert isinstance(net.core, PythonNetwork) == kind
        found.append(net.gradient(x, targets))
    return found


def expect_same(found):
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", kinds.HIDDEN)
def test_the_python_engine_has_every_activation(name):
    expect_same(both_gradients(name, "squared_error", None, np.ones((6, 3))))


@pytest.mark.parametrize("name", LOSSES)
def test_the_python_engine_has_every_loss_and_last_activation(name):
    labels = np.arange(6) % 3
    targets = labels if LOSSES[name].classes else np.eye(3)[labels]
    for last in LOSSES[name].last_activations or ("identity",):
        if last != kinds.CUSTOM:
            expect_same(both_gradients("gelu", name, last, targets))


def test_constants_are_the_cores():
    assert nncore.selu(1.0) == kinds.SELU_SCALE == ref.SELU_SCALE
    assert ref.SELU_ALPHA == kinds.SELU_ALPHA
    assert nncore.selu(-1e3) == pytest.approx(-kinds.SELU_SCALE * kinds.SELU_ALPHA, rel=1e-15)
    net = NeuralNetwork([Layer(1, 1, weights=[[1.0]], bias=[0.0], batch_norm=True), Layer(1, 1)], rng=0)
    first, last = net.layers
    net.params["W2"][...], net.params["b2"][...] = 1, 0
    first.running_var[...] = 0
    assert net.predict([[1.0]]) == pytest.approx(1 / np.sqrt(BATCH_NORM_EPS), rel=1e-14)
    assert last.affine()[0] * first.affine()[0] == pytest.approx(net.predict([[1.0]]), rel=1e-14)
