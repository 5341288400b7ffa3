"""The metric that early stopping and schedules watch, what Ctrl-C ends, and what the history says of both."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import nncore
from nncore import (
    SGD,
    Adam,
    EarlyStopping,
    InterruptWarning,
    Layer,
    MLPClassifier,
    MLPRegressor,
    NeuralNetwork,
    fit_many,
)
from nncore.cli import main as cli
from nncore.core import notices

STILL = SGD(1e-300)  # no parameter moves


def line(n_in=2, **settings):
    return NeuralNetwork([Layer(n_in, 1)], rng=0, **settings)


# ---- the loss of an epoch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "batch_size"), [(33, 32), (7, 3), (40, 40), (5, 1)])
def test_a_batch_counts_by_its_samples(n, batch_size, seed):
    rng = np.random.default_rng([n, seed])
    x, y, net = rng.normal(size=(n, 2)), rng.normal(size=n), line()
    stopping = EarlyStopping(patience=12, min_delta=1e-6)
    history = net.fit(
        x, y, batch_size=batch_size, epochs=12, optimizer=STILL, early_stopping=stopping, progress=False, rng=seed
    )
    expected = 0.5 * np.mean((net.predict(x)[:, 0] - y) ** 2)
    np.testing.assert_allclose(history.epoch_loss, np.full(12, expected), rtol=1e-12)
    assert (history.best_epoch, history.watched) == (1, "epoch_loss")


@pytest.mark.parametrize("sampling", ["shuffle", "sequential"])
def test_a_batch_counts_by_the_weights_of_its_samples(sampling):
    rng = np.random.default_rng(0)
    x, y, w, net = rng.normal(size=(33, 2)), rng.normal(size=33), rng.integers(0, 3, 33).astype(float), line()
    w[32:] = 0  # a whole batch of no weight, in order
    settings = {"batch_size": 8, "optimizer": STILL, "callbacks": [lambda history: None], "progress": False, "rng": 1}
    history = net.fit(x, y, epochs=3, sample_weight=w, sampling=sampling, **settings)
    expected = 0.5 * np.average((net.predict(x)[:, 0] - y) ** 2, weights=w)
    np.testing.assert_allclose(history.epoch_loss, np.full(3, expected), rtol=1e-12)
    by_output = net.fit(x, y, epochs=1, sample_weight=w[:, None], **settings)
    np.testing.assert_allclose(by_output.epoch_loss, 0.5 * np.mean((net.predict(x)[:, 0] - y) ** 2 * w), rtol=1e-12)


def test_an_epoch_that_ends_early_and_a_plateau():
    x, y, net = np.arange(10.0)[:, None] / 10, np.arange(10.0), line(1)
    history = net.fit(
        x, y, batch_size=3, iterations=6, optimizer=STILL, sampling="sequential", progress=False,
        callbacks=[lambda history: None],
    )  # fmt: skip
    squares = 0.5 * (net.predict(x)[:, 0] - y) ** 2
    np.testing.assert_allclose(history.epoch_loss, [squares.mean(), squares[:6].mean()], rtol=1e-12)
    # a plateau whose epochs are all the same falls every patience + 1 epochs, whatever the last batch is
    schedule = nncore.ReduceOnPlateau(patience=1, factor=0.5)
    history = net.fit(x, y, batch_size=3, epochs=6, optimizer=STILL, schedule=schedule, progress=False, rng=0)
    np.testing.assert_allclose(history.lr[::4] / STILL.lr, [1, 1, 1, 0.5, 0.5, 0.25], rtol=1e-12)
    assert history.watched == "epoch_loss"


# ---- scores that are not numbers, or all the same -------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "epochs", "best", "ended"),
    [
        (np.nan, 2, None, "not finite in any of 2 epochs"),
        (np.inf, 2, None, "not finite in any of 2 epochs"),
        (-np.inf, 2, None, "not finite in any of 2 epochs"),
        (1.0, 3, 1, "was 1 in all 3 epochs"),
    ],
)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_constant_never_improves(value, epochs, best, ended, mode):
    x = np.random.default_rng(0).normal(size=(20, 2))
    stopping = EarlyStopping(lambda y, t: value, 2, mode=mode)
    history = line().fit(
        x, x[:, 0], validation_data=(x, x[:, 0]), early_stopping=stopping, epochs=30, batch_size=10, progress=False
    )
    assert (history.epochs, history.best_epoch) == (epochs, best)
    assert history.ended.startswith("early stopping: validation <lambda> was")
    assert ended in history.ended
    assert history.watched == "test_<lambda>"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_plateau_takes_no_infinity_for_better(value):
    """The rate falls as with any constant: the first epoch, and each that waited for more than patience ones."""
    x, schedule = np.ones((4, 2)), nncore.ReduceOnPlateau(1, 0.5, metric=lambda y, t: value, mode="min")
    history = line().fit(
        x, x[:, 0], validation_data=(x, x[:, 0]), schedule=schedule, optimizer=SGD(0.01), epochs=6, progress=False
    )
    np.testing.assert_allclose(history.lr / 0.01, [1, 1, 0.5, 0.5, 0.25, 0.25], rtol=1e-12)


def test_an_estimator_whose_score_is_not_finite_stops():
    X = np.random.default_rng(0).normal(size=(60, 3))
    for value in (np.nan, np.inf, -np.inf):
        regressor = MLPRegressor(
            hidden_layer_sizes=3, early_stopping=True, n_iter_no_change=4, random_state=0,
            scoring=lambda estimator, X, y, value=value: value,
        )  # fmt: skip
        with pytest.warns(
            ConvergenceWarning, match=f"after 5 epochs, in all of which the validation score was {value}"
        ):
            regressor.fit(X, X[:, 0])
        assert regressor.n_iter_ == 5
        assert regressor.best_validation_score_ is None


def test_a_constant_score_of_an_estimator_is_said():
    X = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.warns(ConvergenceWarning, match=r"after \d+ epochs, in all of which the validation score was 0.5"):
        MLPRegressor(
            hidden_layer_sizes=3, early_stopping=True, random_state=0, scoring=lambda estimator, X, y: 0.5
        ).fit(X, X[:, 0])


def test_what_is_watched_is_said():
    x = np.random.default_rng(0).normal(size=(30, 2))
    t = (x[:, 0] > 0).astype(int)

    def net():
        return NeuralNetwork([Layer(2, 2)], loss="softmax_cross_entropy", rng=0)

    history = net().fit(x, t, validation_data=(x, t), early_stopping=2, epochs=50, progress=False, rng=0)
    assert history.watched == "test_accuracy"
    assert "ended by early stopping: validation accuracy was best in epoch" in repr(history)
    assert len(repr(history)) < 300
    axes = history.plot().axes[1]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "validation"]
    assert axes.get_title() == f"epoch {history.best_epoch} is the best by validation accuracy"
    plain = net().fit(x, t, validation_data=(x, t), epochs=2, progress=False)
    assert (plain.watched, plain.ended) == (None, "")
    assert [text.get_text() for text in plain.plot().axes[1].get_legend().get_texts()] == ["train", "test"]
    assert net().fit(x, t, callbacks=[lambda history: True], progress=False).ended == "a callback"


# ---- weights of 0 and rare classes ----------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", [MLPRegressor, MLPClassifier])
def test_samples_of_weight_0_are_as_good_as_absent(Estimator):
    """For every seed, and whatever stands in them."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(40, 3)), np.r_[np.ones(8), np.zeros(32)]
    y = X[:, 0] if Estimator is MLPRegressor else (X[:, 0] > 0).astype(int)
    for seed in range(8):
        settings = {"hidden_layer_sizes": 5, "early_stopping": True, "max_iter": 30, "random_state": seed}
        with pytest.raises(ValueError, match=r"early_stopping sets aside .* 0.1 of 8 samples with a sample_weight"):
            Estimator(**settings).fit(X, y, w)
        settings["validation_fraction"] = 0.3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            expected = Estimator(**settings).fit(X[:8], y[:8])
            X[8:] = 100 * rng.normal(size=(32, 3))
            found = Estimator(**settings).fit(X, y, w)
        np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
        assert found.validation_scores_ == expected.validation_scores_


def test_the_class_that_is_too_rare_is_named():
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = np.array(["healthy"] * 59 + ["ill"])
    for labels in (y, y.astype(object)):
        with pytest.raises(ValueError, match=r"y has 1 sample of class 'ill', expected 2 or more .*validation_data"):
            MLPClassifier(5, early_stopping=True, random_state=0).fit(X, labels)
    w = np.r_[np.zeros(1), np.ones(59)]
    with pytest.raises(ValueError, match="y has 1 sample of class 7 with a sample_weight above 0, expected 2"):
        MLPClassifier(5, early_stopping=True, random_state=0).fit(X, np.r_[7, 7, np.full(58, 3)], w)


# ---- class columns, one class, targets far from 0 -------------------------------------------------------------


@pytest.mark.parametrize(
    "Y", [[[0, 2], [1, 1], [2, 0], [1, 2]], [[-1, 1], [1, -1], [1, 1], [-1, -1]], [[1, 2], [2, 1], [1, 1], [2, 2]]]
)
def test_class_columns_beyond_0_and_1_are_refused_as_by_scikit_learn(Y):
    """Never y > 0: {-1, 1} and {1, 2} would be labels that are always on."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(ValueError, match="Multioutput target data is not supported: y has 2 columns"):
        MLPClassifier(5, max_iter=2, random_state=0).fit(X, np.array(Y * 10))
    right = np.array(Y * 10) == np.array(Y).max()
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        classifier = MLPClassifier(5, max_iter=2, random_state=0).fit(X, right)
    with pytest.raises(ValueError, match="Multioutput"):
        classifier.partial_fit(X, np.array(Y * 10))


def test_one_class_has_one_column_of_probabilities():
    with pytest.warns(ConvergenceWarning):
        classifier = MLPClassifier(3, max_iter=3, random_state=0).fit(np.eye(3), [7, 7, 7])
    assert classifier.classes_.tolist() == [7]
    np.testing.assert_array_equal(classifier.predict_proba(np.eye(3)), np.ones((3, 1)))
    np.testing.assert_array_equal(classifier.predict_log_proba(np.eye(3)), np.zeros((3, 1)))
    np.testing.assert_array_equal(classifier.predict(np.eye(3)), [7, 7, 7])


def test_targets_of_a_million_are_to_be_scaled():
    """The warning names the numbers, points here, and does not send to more epochs."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    for y in (1e6 + 1e5 * X[:, 0], np.c_[X[:, 0], 1e6 * X[:, 1]]):
        with pytest.warns(ConvergenceWarning) as caught:
            MLPRegressor(max_iter=20, random_state=0).fit(X, y)
        (warning,) = caught
        mean, deviation = y.reshape(200, -1)[:, -1].mean(), y.reshape(200, -1)[:, -1].std()
        assert f"y has mean {mean:.3g} and standard deviation {deviation:.3g}, but after 20 epochs" in str(
            warning.message
        )
        assert "scale y" in str(warning.message)
        assert "max_iter" not in str(warning.message)
        assert warning.filename == __file__
    with pytest.warns(ConvergenceWarning, match="differ by less than tol = 0.0001, .*scale y"):
        MLPRegressor(random_state=0).fit(X, 1e-6 * X[:, 0])
    with pytest.warns(ConvergenceWarning, match="max_iter is 5, expected more"):
        MLPRegressor(random_state=0, max_iter=5).fit(X, 1 + X[:, 0])


# ---- Ctrl-C ---------------------------------------------------------------------------------------------------


@pytest.fixture
def twice(monkeypatch):
    """Presses within the time that the suite needs are two in a row."""
    monkeypatch.setattr(notices, "TWICE_SECONDS", 1e6)
    notices.forget()
    yield
    notices.forget()


def press_at(epoch):
    def press(history):
        presses.append(1)
        if getattr(history, "n_iter_", getattr(history, "epochs", None)) == epoch:
            raise KeyboardInterrupt

    presses = []
    press.presses = presses
    return press


def test_a_second_ctrl_c_ends_a_loop(twice):
    x, fits = np.ones((4, 2)), []

    def loop():
        for i in range(45):
            fits.append(i)
            line().fit(x, x[:, 0], callbacks=[press_at(2)], progress=False)

    with pytest.warns(InterruptWarning, match="once more within"), pytest.raises(KeyboardInterrupt):
        loop()
    assert fits == [0, 1]


def test_a_second_ctrl_c_ends_a_search(twice):
    rng = np.random.default_rng(0)
    X, press = rng.normal(size=(60, 4)), press_at(2)
    search = GridSearchCV(
        MLPClassifier(5, max_iter=10, callbacks=[press], random_state=0), {"alpha": [1e-4, 1e-3, 1e-2]}, cv=2
    )
    with pytest.warns(InterruptWarning, match="Ctrl-C ended training after epoch 2"), pytest.raises(KeyboardInterrupt):
        search.fit(X, (X[:, 0] > 0).astype(int))
    assert len(press.presses) == 4
    assert not hasattr(search, "best_score_")


def test_presses_far_apart_end_one_fit_each(monkeypatch):
    now = iter([100.0, 101.5, 103.0, 103.9])
    monkeypatch.setattr(notices, "TWICE_SECONDS", 1.0)
    monkeypatch.setattr(notices.time, "monotonic", lambda: next(now))
    notices.forget()
    for _ in range(3):
        with pytest.warns(InterruptWarning):
            notices.interrupted("x")
    with pytest.raises(KeyboardInterrupt):
        notices.interrupted("x")
    notices.forget()


def test_the_warning_points_to_the_line_that_called_fit():
    x = np.ones((4, 2))
    with pytest.warns(InterruptWarning) as caught:
        history = line().fit(x, x[:, 0], callbacks=[press_at(1)], progress=False)
    assert caught[0].filename == __file__
    assert (history.interrupted, history.ended) == (True, "Ctrl-C")


def test_ctrl_c_keeps_the_last_iteration_of_an_estimators_lbfgs():
    rng = np.random.default_rng(0)
    X, settings = rng.normal(size=(60, 4)), {"solver": "lbfgs", "random_state": 0}
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(InterruptWarning, match="after iteration 3"):
        pressed = MLPClassifier(5, callbacks=[press_at(3)], **settings).fit(X, y)
    with pytest.warns(ConvergenceWarning):
        expected = MLPClassifier(5, max_iter=3, **settings).fit(X, y)
    np.testing.assert_array_equal(pressed.coefs_[0], expected.coefs_[0])


# ---- a population ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, type("Mine", (BaseException,), {})])
def test_what_is_to_end_the_process_ends_fit_many(kind):
    r = np.random.default_rng(0)
    X, Y = r.normal(size=(40, 8)), r.integers(0, 3, 40)

    def end(history):
        if history.epochs == 2:
            raise kind("stop")

    nets = [NeuralNetwork([Layer(8, 4), Layer(4, 3)], loss="softmax_cross_entropy", rng=s) for s in range(3)]
    with pytest.raises(kind, match="stop"):
        fit_many(nets, X, Y, iterations=10**7, callbacks=[[end], [], []], progress=False, n_jobs=2)


def test_a_callback_that_presses_ctrl_c_ends_all():
    X = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.warns(InterruptWarning, match="Ctrl-C ended this fit_many: 3 of 3 networks"):
        histories = fit_many(
            [line() for _ in range(3)], X, X[:, 0], epochs=10**6, callbacks=[[press_at(2)], [], []], progress=False,
            n_jobs=2, rng=0,
        )  # fmt: skip
    assert all(history.interrupted for history in histories)


# ---- optimizers by name ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*nncore.training.optimizers.OPTIMIZERS, "lbfgs"])
def test_an_optimizer_by_name_is_a_new_one_with_its_defaults(name):
    x = np.random.default_rng(0).normal(size=(30, 2))
    nets = line(), line()
    make = nncore.LBFGS if name == "lbfgs" else nncore.training.optimizers.OPTIMIZERS[name]
    settings = {"progress": False} if name == "lbfgs" else {"progress": False, "rng": 0}
    for _ in range(2):
        nets[0].fit(x, x[:, 0], optimizer=name, **settings)
        nets[1].fit(x, x[:, 0], optimizer=make(), **settings)
    np.testing.assert_array_equal(nets[0].core.params, nets[1].core.params)


def test_a_population_takes_names():
    x = np.random.default_rng(0).normal(size=(30, 2))
    nets, alone = [line(), line()], line()
    fit_many(nets, x, x[:, 0], optimizer=["adam", "sgd"], progress=False, rng=3)
    alone.fit(x, x[:, 0], optimizer=Adam(), progress=False, rng=np.random.default_rng(3).spawn(2)[0])
    np.testing.assert_array_equal(nets[0].core.params, alone.core.params)


@pytest.mark.parametrize(
    ("options", "way"),
    [(["--checkpoint-every", "1"], "with --resume goes on"), ([], "train with --checkpoint-every, then with --resume")],
)
def test_the_command_names_resume(options, way, tmp_path, capsys, monkeypatch, twice):
    """Each command is a process of its own to the user, so that a press there is the first."""

    def update(bar, n):
        if n:
            raise KeyboardInterrupt

    monkeypatch.setattr(nncore.training.progress.NoBar, "update", update)
    monkeypatch.setattr(nncore.training.run, "CHUNK_SECONDS", 0.0)
    for _ in range(2):
        assert cli.main(["train", "moons", "--quiet", "--out", str(tmp_path / "o"), *options]) == 1
        assert way in capsys.readouterr().err
