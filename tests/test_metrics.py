"""Metrics are scikit-learn's, early stopping keeps the best, class weights and clipping are PyTorch's."""

import re

import numpy as np
import pytest
import reference as ref

import nncore
from nncore import SGD, EarlyStopping, Layer, NeuralNetwork
from nncore.training import evaluation


@pytest.fixture
def data(rng):
    x = rng.normal(size=(60, 4))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.3)


def classifier(**settings):
    settings = {"loss": "softmax_cross_entropy", "rng": 0, **settings}
    return NeuralNetwork([Layer(4, 6, "tanh"), Layer(6, 3)], **settings)


def fit(net, data, **settings):
    return net.fit(*data, **{"optimizer": SGD(0.3), "epochs": 3, "progress": False, "rng": 1, **settings})


def test_metrics_are_scikit_learns(data):
    from sklearn import metrics as sk

    def brier(true, outputs):
        return np.mean((np.eye(3)[true] - nncore.softmax(outputs)) ** 2)

    net = classifier()
    names = ["accuracy", "top_2", "test_loss", "auc", "train_accuracy", "train_loss", brier]
    history = fit(net, data, metrics=names, validation_data=(data[0][:20], data[1][:20]))
    x, t = data[0][:20], data[1][:20]
    y, p = net.predict(x), net.predict_proba(x)
    expected = {
        "test_accuracy": sk.accuracy_score(t, y.argmax(axis=1)),
        "test_loss": sk.log_loss(t, p),
        "train_accuracy": sk.accuracy_score(data[1], net.predict(data[0]).argmax(axis=1)),
        "train_loss": sk.log_loss(data[1], net.predict_proba(data[0])),
        "test_top_2": sk.top_k_accuracy_score(t, p, k=2),
        "test_auc": sk.roc_auc_score(t, p, multi_class="ovr"),
        "test_brier": np.mean((np.eye(3)[t] - p) ** 2),
    }
    found = history.epoch_columns()
    assert set(found) == set(expected)
    for name, values in found.items():
        assert len(values) == 3
        assert values[-1] == pytest.approx(expected[name], rel=1e-12)
    assert list(history.metrics) == ["test_top_2", "test_auc", "test_brier"]


def test_metrics_of_numbers_are_scikit_learns(rng):
    from sklearn import metrics as sk

    x, t = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    net = NeuralNetwork([Layer(4, 2)], rng=0, dtype="float32")
    history = fit(net, (x, t), metrics=["mse", "r2"], validation_data=(x, t))
    assert history.metrics["test_mse"][-1] == pytest.approx(sk.mean_squared_error(t, net.predict(x)), rel=1e-6)
    assert history.metrics["test_r2"][-1] == pytest.approx(sk.r2_score(t, net.predict(x)), rel=1e-6)


@pytest.mark.parametrize("loss", ["sigmoid_cross_entropy", "squared_error"])
def test_metrics_of_one_output(data, loss):
    from sklearn import metrics as sk

    x, t = data[0], (data[1] > 0).astype(int)
    net = NeuralNetwork([Layer(4, 1)], loss=loss, rng=0)
    history = fit(net, (x, t), metrics=["auc", "accuracy"], validation_data=(x, t))
    assert history.metrics["test_auc"][-1] == pytest.approx(sk.roc_auc_score(t, net.predict(x)), rel=1e-12)
    above = 0.0 if loss == "sigmoid_cross_entropy" else 0.5
    assert history.test_accuracy[-1] == np.mean((net.predict(x)[:, 0] > above) == t)
    by_default = fit(net, (x, t), validation_data=(x, t))
    assert bool(by_default.test_accuracy) == (loss == "sigmoid_cross_entropy")


def test_labels_and_one_hot_rows_measure_alike(data):
    x, t = data
    found = []
    for targets in (t, np.eye(3)[t]):
        history = fit(classifier(), (x, targets), metrics=["accuracy", "top_2", "auc"], validation_data=(x, targets))
        found.append(list(history.epoch_columns().values()))
    np.testing.assert_allclose(*found)


def test_evaluation_changes_no_bit(data):
    plain, measured = classifier(), classifier()
    fit(plain, data)
    fit(measured, data, metrics=["auc", "train_loss"], validation_data=data, early_stopping=100)
    assert not np.array_equal(measured.core.params, classifier().core.params)
    again = classifier()
    history = fit(again, data, early_stopping=EarlyStopping(patience=100, restore_best=False))
    np.testing.assert_array_equal(again.core.params, plain.core.params)
    assert history.epoch_ends == [2, 4, 6]


def scripted(values, mode="min"):
    """A metric that takes these values, and early stopping by it."""
    left = iter(values)

    def script(true, outputs):
        return next(left)

    return {"patience": 2, "metric": script, "mode": mode}


@pytest.mark.parametrize(
    ("values", "settings", "epochs", "best"),
    [
        ([3, 2, 1, 1, 1, 0], {}, 5, 3),
        ([3, 2, 1, 1, 0, 1, 2, 3], {}, 7, 5),
        ([3, 2, 1.8, 1.6, 1.4], {"min_delta": 0.5}, 4, 2),
        ([3, np.nan, 2, np.nan, np.nan, 1], {}, 5, 3),
        ([np.nan, np.nan, 1], {}, 2, None),
        ([1, 2, 3, 3, 3, 4], {"mode": "max"}, 5, 3),
    ],
)
def test_it_stops_after_patience_epochs_without_improvement(data, values, settings, epochs, best):
    params = []
    net = classifier()
    stopping = EarlyStopping(**{**scripted(values), **settings})
    history = fit(
        net, data, epochs=20, validation_data=data, early_stopping=stopping,
        callbacks=[lambda history: params.append(net.core.params.copy())],
    )  # fmt: skip
    assert (history.epochs, history.best_epoch) == (epochs, best)
    np.testing.assert_array_equal(net.core.params, params[-1 if best is None else best - 1])
    assert len(history.metrics["test_script"]) == epochs


def test_the_last_parameters_stay_without_restore_best(data):
    net, same = classifier(), classifier()
    stopping = EarlyStopping(**scripted([1, 2, 3]), restore_best=False)
    assert fit(net, data, epochs=20, validation_data=data, early_stopping=stopping).epochs == 3
    fit(same, data)
    np.testing.assert_array_equal(net.core.params, same.core.params)


def test_the_best_running_moments_are_restored_too(data):
    net, outputs = NeuralNetwork([Layer(4, 6, "relu", batch_norm=True), Layer(6, 3)], rng=0), []
    t = np.eye(3)[data[1]]
    fit(
        net, (data[0], t), epochs=9, optimizer=SGD(0.1), validation_data=(data[0], t),
        early_stopping=EarlyStopping(**scripted([3, 1, 2, 2])),
        callbacks=[lambda history: outputs.append(net.predict(data[0]))],
    )  # fmt: skip
    assert len(outputs) == 4
    np.testing.assert_array_equal(net.predict(data[0]), outputs[1])


def test_what_is_followed_by_default(data):
    history = fit(classifier(), data, epochs=500, validation_data=data, early_stopping=3)
    best = int(np.argmax(history.test_accuracy))
    assert (history.best_epoch, history.epochs) == (best + 1, best + 4)
    history = fit(classifier(), data, epochs=500, validation_data=data, early_stopping=3, metrics=["train_loss", "auc"])
    assert history.best_epoch == np.argmax(history.metrics["test_auc"]) + 1
    history = fit(classifier(), data, epochs=3000, early_stopping=3, optimizer=SGD(3.0))
    means = history.loss.reshape(-1, 2).mean(axis=1)
    assert history.best_epoch == np.argmin(means) + 1
    assert history.epochs == history.best_epoch + 3


def test_each_of_a_population_stops_by_itself(data):
    nets, alone = [classifier(rng=i) for i in range(3)], [classifier(rng=i) for i in range(3)]
    settings = {
        "validation_data": data,
        "metrics": ["loss"],
        "epochs": 40,
        "progress": False,
        "class_weight": "balanced",
    }
    stops, schedules, clips = [2, EarlyStopping("accuracy", 3), None], ["cosine", None, "linear"], [None, 0.1, 1.0]
    histories = nncore.fit_many(
        nets, *data, optimizer=SGD(2.0), early_stopping=stops, schedule=schedules, clip_norm=clips, rng=0, **settings
    )
    rngs = np.random.default_rng(0).spawn(3)
    for i, net in enumerate(alone):
        each = {"early_stopping": stops[i], "schedule": schedules[i], "clip_norm": clips[i], "rng": rngs[i]}
        history = net.fit(*data, optimizer=SGD(2.0), **each, **settings)
        np.testing.assert_array_equal(history.loss, histories[i].loss)
        np.testing.assert_array_equal(net.core.params, nets[i].core.params)


def weighted_by_torch(layers, x, t, weight, smoothing, reduction):
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(a, requires_grad=True) for W, b, _ in layers for a in (W, b)]
    y = torch.tanh(torch.tensor(x) @ tensors[0] + tensors[1]) @ tensors[2] + tensors[3]
    loss = torch.nn.functional.cross_entropy(
        y,
        torch.tensor(t),
        weight=torch.tensor(weight, dtype=torch.float64),
        label_smoothing=smoothing,
        reduction=reduction,
    )
    loss.backward()
    return loss.item(), [p.grad.numpy() for p in tensors]


WEIGHTS = [0.5, 2.0, 1.25]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["labels", "one-hot", "soft"])
def test_class_weights_are_torchs(data, rng, kind, smoothing):
    """One update of plain descent shows loss and gradient."""
    x, labels = data
    t = {"labels": labels, "one-hot": np.eye(3)[labels], "soft": rng.dirichlet([1, 1, 1], size=60)}[kind]
    net = classifier(label_smoothing=smoothing)
    layers = [(la.weights.copy(), la.bias.copy(), la.activation) for la in net.layers]
    before = [array for W, b, _ in layers for array in (W, b)]
    expected, grads = weighted_by_torch(layers, x, labels if kind != "soft" else t, WEIGHTS, smoothing, "mean")
    history = fit(net, (x, t), class_weight=WEIGHTS, batch_size=60, epochs=1, validation_data=(x, t))
    assert history.loss[0] == pytest.approx(expected, rel=1e-12)
    for old, grad, new in zip(before, grads, net.params.values(), strict=True):
        np.testing.assert_allclose(new, old - 0.3 * grad, rtol=0, atol=1e-14)


def test_class_weights_are_weights_of_samples(data):
    """Against NumPy, for every way to give them, with weights of samples, over batches."""
    x, labels = data
    counts = np.bincount(labels)
    own = np.random.default_rng(5).random(60)
    for given, by_class in (
        ("balanced", 60 / (3 * counts)),
        ({0: 2.0, 2: 0.0}, [2.0, 1.0, 0.0]),
        (np.array([1, 2, 3]), [1, 2, 3]),
    ):
        net = classifier()
        layers = [(la.weights.copy(), la.bias.copy(), la.activation or "identity") for la in net.layers]
        fit(net, data, class_weight=given, sample_weight=own, batch_size=60, epochs=1)
        weights = own * np.asarray(by_class)[labels]
        (dW, _), _ = ref.network_gradient(layers, "softmax_cross_entropy", x, np.eye(3)[labels], weights=weights)[0]
        np.testing.assert_allclose(net.params["W1"], layers[0][0] - 0.3 * dW, rtol=0, atol=1e-14)


def test_balanced_is_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0, 0, 0, 2, 2, 3])
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels)
    weights = nncore.data.samples.class_weights("balanced", np.bincount(labels, minlength=5))
    np.testing.assert_allclose(weights[[0, 2, 3]], expected, rtol=1e-15)
    assert weights[[1, 4]].tolist() == [0, 0]


@pytest.mark.parametrize(("loss", "negative"), [("sigmoid_cross_entropy", 0), ("hinge", -1)])
def test_class_weights_of_one_output(data, loss, negative):
    x, positive = data[0], data[1] > 0
    t = np.where(positive, 1.0, negative)
    weighted, same = (NeuralNetwork([Layer(4, 1)], loss=loss, rng=0) for _ in range(2))
    fit(weighted, (x, t), class_weight={1: 3.0})
    fit(same, (x, t), sample_weight=1.0 + 2 * positive)
    np.testing.assert_array_equal(weighted.core.params, same.core.params)


@pytest.mark.parametrize(("norm", "value"), [(0.05, None), (None, 0.01), (0.05, 0.01), (1e9, 1e9)])
def test_clipping_is_torchs(data, norm, value):
    """Of the gradient that one update takes: the value first, then the norm."""
    net, free = classifier(), classifier()
    start = free.core.params.copy()
    fit(free, data, optimizer=SGD(1.0), batch_size=60, epochs=1)
    grad = start - free.core.params
    if value:
        grad = grad.clip(-value, value)
    if norm:
        grad *= min(1, norm / (np.linalg.norm(grad) + 1e-6))
    fit(net, data, optimizer=SGD(1.0), batch_size=60, epochs=1, clip_norm=norm, clip_value=value)
    np.testing.assert_allclose(net.core.params, start - grad, rtol=0, atol=1e-14)


def numbers():
    return NeuralNetwork([Layer(4, 3)], rng=0)


BAD = {
    "name": ({"metrics": ["f1"]}, "a metric is 'f1', expected a function or one of 'accuracy', 'top_<k>', 'loss'"),
    "text": ({"metrics": "accuracy"}, "metrics is 'accuracy', expected a list of names and functions"),
    "no data": ({"metrics": ["auc"]}, "a metric is 'auc' and there is no validation_data, expected it"),
    "top 4": ({"metrics": ["train_top_4"]}, "a metric is 'train_top_4', expected at most top_3"),
    "labels": ({"metrics": ["train_r2"]}, "a metric is 'train_r2', expected targets of shape (60, 3)"),
    "numbers": (
        {"net": numbers, "y": np.full((60, 3), 0.5), "metrics": ["train_accuracy"]},
        "a metric is 'train_accuracy', expected targets that stand for classes",
    ),
    "one class": ({"y": np.zeros(60, int), "metrics": ["train_auc"]}, "expected samples of every class"),
    "patience": ({"early_stopping": 0}, "early_stopping is 0, expected 1 or more"),
    "stopping": ({"early_stopping": "loss"}, "early_stopping is 'loss', expected a number of epochs"),
    "mode": ({"early_stopping": EarlyStopping(abs)}, "there is no validation_data"),
    "function": (
        {"early_stopping": EarlyStopping(abs), "validation_data": True},
        "mode is 'auto', expected 'min' or 'max' for the function abs",
    ),
    "clip_norm": ({"clip_norm": 0}, "clip_norm is 0, expected a finite number above 0"),
    "clip_value": ({"clip_value": "x"}, "clip_value is 'x', expected a finite number above 0"),
    "weights": ({"class_weight": "even"}, "class_weight is 'even', expected one of 'balanced'"),
    "weights of 2": ({"class_weight": [1, 2]}, "class_weight has shape (2,), expected (3,), one a class"),
    "negative": ({"class_weight": [1, -2, 1]}, "class_weight goes from -2.0 to 1.0, expected 0 or more, not all 0"),
    "zero": ({"class_weight": [0, 0, 0]}, "class_weight goes from 0.0 to 0.0, expected 0 or more, not all 0"),
    "all samples": ({"class_weight": {0: 0, 1: 0, 2: 0}}, "class_weight is 0 for every sample"),
    "unknown class": ({"class_weight": {3: 1.0}}, "class_weight has the class 3, expected classes 0 to 2"),
    "weight of a class": ({"class_weight": {0: -1}}, "class_weight[0] is -1, expected a finite number of 0 or more"),
    "no classes": (
        {"net": numbers, "y": np.full((60, 3), 0.5), "class_weight": "balanced"},
        "class_weight is given, expected None unless y has labels or one-hot rows",
    ),
    "smoothing": (
        {"net": lambda: classifier(label_smoothing=0.1), "class_weight": {1: 0}},
        "class_weight is 0 for a class of y, expected numbers above 0 with label_smoothing",
    ),
    "by output": (
        {"sample_weight": np.ones((60, 3)), "class_weight": "balanced"},
        "sample_weight has shape (60, 3), expected one a sample with class_weight",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings(data, name):
    settings, message = BAD[name]
    settings = dict(settings)
    net, y = settings.pop("net", classifier)(), settings.pop("y", data[1])
    if "validation_data" in settings:
        settings["validation_data"] = data
    before, state = net.core.params.copy(), net.rng.bit_generator.state
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        fit(net, (data[0], y), rng=None, **settings)
    np.testing.assert_array_equal(net.core.params, before)
    assert net.rng.bit_generator.state == state


def test_early_stopping_refuses():
    for settings, message in (
        ({"patience": 0}, "patience is 0, expected 1 or more"),
        ({"min_delta": -1}, "min_delta is -1, expected a finite number of 0 or more"),
        ({"mode": "best"}, "mode is 'best', expected one of 'auto', 'min', 'max'"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            EarlyStopping(**settings)
    assert repr(EarlyStopping("loss", 3)).startswith("EarlyStopping(metric='loss', patience=3, min_delta=0.0")
    assert evaluation.parsed("test_loss") == evaluation.parsed("loss")
