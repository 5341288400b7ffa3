"""Pictures: what stands on the axes is what was given, and bad arguments are refused in one sentence."""

import dataclasses
import doctest
import os
import re
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from nncore import GradientReport, History, gradient_descent, numerical_gradient, plotting
from nncore.checking.evidence import Evidence
from nncore.plotting import canvas, style

X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.5], [0.5, 2.0]])
Y = np.array([0, 1, 1, 0])


def bowl(x):
    return x[0] ** 2 + 3 * x[1] ** 2


def parabola(x):
    return 0.01 * x**2 + 0.1 * x


@pytest.fixture(autouse=True)
def closed_figures():
    """Every test draws what it made, and leaves no figure behind."""
    plt.close("all")
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# Every function with an ax argument, called with it.
ON_AXES = {
    "loss": lambda ax: plotting.plot_loss([3.0, 2.0], ax),
    "accuracy": lambda ax: plotting.plot_accuracy(History(train_accuracy=[0.5], test_accuracy=[0.4]), ax),
    "tangent": lambda ax: plotting.plot_function_and_tangent(parabola, 1.0, ax=ax),
    "field": lambda ax: plotting.plot_gradient_field(bowl, ax=ax, n=3),
    "descent": lambda ax: plotting.plot_descent(bowl, X, ax=ax),
    "points": lambda ax: plotting.plot_points(X, Y, ax),
    "boundary": lambda ax: plotting.plot_decision_boundary(lambda x: x[:, 0], X, Y, ax),
    "surface": lambda ax: plotting.plot_surface(bowl, ax=ax, n=4),
}


@pytest.mark.parametrize("name", ON_AXES)
def test_draws_on_the_axes_given_or_on_new_ones(name):
    given = plt.figure().add_subplot(projection="3d" if name == "surface" else None)
    assert ON_AXES[name](given) is given
    assert given.has_data()
    assert given.get_xlabel()
    assert given.get_ylabel()
    assert len(plt.get_fignums()) == 1, "no other figure is made"
    assert ON_AXES[name](None).figure is not given.figure
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("name", ON_AXES)
def test_axes_of_another_type_are_refused(name):
    with pytest.raises(TypeError, match=r"^ax is a list, expected Matplotlib axes or None$"):
        ON_AXES[name]([])


# ---- training ------------------------------------------------------------------------------------------------


def test_loss_lines_are_the_losses_and_their_moving_average(rng):
    losses = rng.random(1000)
    ax = plotting.plot_loss(losses)
    each, mean = ax.lines
    np.testing.assert_array_equal(each.get_xdata(), np.arange(1, 1001))
    np.testing.assert_array_equal(each.get_ydata(), losses)
    assert labels(ax) == ["each iteration", "mean of 20"]
    expected = np.lib.stride_tricks.sliding_window_view(losses, 20).mean(axis=1)
    np.testing.assert_allclose(mean.get_ydata(), expected, rtol=1e-12)
    assert mean.get_xdata()[0] == np.mean(np.arange(1, 21))
    assert mean.get_xdata()[-1] == np.mean(np.arange(981, 1001))
    assert each.get_alpha() < 0.5


def test_loss_of_a_history_and_window_1():
    ax = plotting.plot_loss(History(loss=np.array([2.0, 1.0])), window=1)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[2.0, 1.0]]
    assert ax.lines[0].get_marker() == "o", "few values are shown as points too"


@pytest.mark.parametrize("n", [10_001, 123_457])
def test_many_losses_are_thinned_and_keep_their_extremes(n, rng):
    losses = rng.random(n)
    losses[n // 3], losses[n - 1] = 9.0, -9.0
    each, mean = plotting.plot_loss(losses).lines
    drawn = each.get_ydata()
    assert len(drawn) == 10_000
    assert set(drawn) <= set(losses)
    assert (drawn.min(), drawn.max()) == (-9.0, 9.0)
    assert abs(each.get_xdata()[drawn.argmax()] - n // 3) <= n / 5000 + 1
    assert len(mean.get_ydata()) <= 10_000


def test_accuracy_by_epoch():
    history = History(epoch_ends=[600, 1200, 1500], train_accuracy=[0.7, 0.8, 0.9], test_accuracy=[0.6, 0.7, 0.8])
    ax = plotting.plot_accuracy(history)
    assert labels(ax) == ["train", "test"]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 2, 2.5], [1, 2, 2.5]]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.7, 0.8, 0.9], [0.6, 0.7, 0.8]]
    assert ax.get_ylabel() == "accuracy"


def test_losses_by_epoch_where_there_are_no_accuracies():
    ax = plotting.plot_accuracy(History(train_loss=[2.0, 1.0], test_loss=[3.0, 2.5]))
    assert [line.get_ydata().tolist() for line in ax.lines] == [[2.0, 1.0], [3.0, 2.5]]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 2], [1, 2]]
    assert ax.get_ylabel() == "loss"


def test_curves_side_by_side():
    history = History(loss=np.array([2.0, 1.0]), epoch_ends=[2], train_accuracy=[0.5], test_accuracy=[0.4])
    figure = plotting.plot_curves(history)
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == [2.0, 1.0]
    assert right.lines[1].get_ydata().tolist() == [0.4]
    assert len(plotting.plot_curves(History(loss=np.array([2.0, 1.0]))).axes) == 1


# ---- functions and descent -----------------------------------------------------------------------------------


def test_tangents_touch_with_the_right_slope():
    ax = plotting.plot_function_and_tangent(parabola, [5, 10], (0, 20))
    curve, *others = ax.lines
    x = curve.get_xdata()
    np.testing.assert_allclose(curve.get_ydata(), parabola(x))
    for x0, slope, tangent, point in zip((5, 10), (0.2, 0.3), others[::2], others[1::2], strict=True):
        np.testing.assert_allclose(tangent.get_ydata(), parabola(x0) + slope * (x - x0), atol=1e-9)
        assert point.get_xdata() == x0
        assert point.get_ydata() == parabola(x0)
    assert ax.get_xlim() == (0, 20)
    assert plotting.plot_function_and_tangent(parabola, [5, 10]).get_xlim() == (0, 15)
    assert plotting.plot_function_and_tangent(parabola, 5).get_xlim() == (4, 6)


def test_field_shows_the_negative_gradients():
    ax = plotting.plot_gradient_field(bowl, (-1, 1, -2, 2), n=5)
    (arrows,) = (artist for artist in ax.collections if isinstance(artist, Quiver))
    assert {tuple(place) for place in arrows.XY[[0, -1]]} == {(-1.0, -2.0), (1.0, 2.0)}
    for place, u, v in zip(arrows.XY, arrows.U, arrows.V, strict=True):
        np.testing.assert_array_equal([u, v], -numerical_gradient(bowl, np.array(place)))


def test_surface_has_the_heights_of_the_function():
    ax = plotting.plot_surface(bowl, (-1, 1, -2, 2), n=5)
    (surface,) = ax.collections
    x, y, z = np.concatenate([np.asarray(face).reshape(-1, 3) for face in surface._faces]).T
    np.testing.assert_allclose(z, bowl(np.array([x, y])))
    assert (x.min(), x.max(), y.min(), y.max()) == (-1, 1, -2, 2)


def test_descent_path_start_and_end():
    _, path = gradient_descent(bowl, [-3.0, 4.0], lr=0.1, step_num=20, return_path=True)
    ax = plotting.plot_descent(bowl, path)
    line, start, end = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), path)
    assert start.get_xydata().tolist() == [[-3.0, 4.0]]
    np.testing.assert_array_equal(end.get_xydata(), path[-1:])
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < path[:, 0].min() < path[:, 0].max() < right
    assert bottom < path[:, 1].min() < path[:, 1].max() < top
    assert plotting.plot_descent(bowl, path, (-9, 9, -8, 8)).get_xlim() == (-9, 9)


# ---- points in the plane -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_points_of_each_class_in_its_colour(dark):
    ax = plotting.plot_points(X, Y, dark=dark)
    for k, collection in enumerate(ax.collections):
        np.testing.assert_array_equal(collection.get_offsets(), X[k == Y])
        colours = style.DARK_COLOURS if dark else style.COLOURS
        assert to_rgba(colours[k]) == tuple(collection.get_facecolor()[0])
    assert labels(ax) == ["class 0", "class 1"]
    background = to_rgba(style.DARK_BACKGROUND) if dark else to_rgba("white")
    assert ax.get_facecolor() == background
    assert ax.figure.get_facecolor() == background


def test_dark_points_darken_no_more_than_their_subfigure():
    figure = plt.figure()
    left, right = figure.subfigures(1, 2)
    plotting.plot_points(X, Y, right.subplots(), dark=True)
    assert right.get_facecolor() == to_rgba(style.DARK_BACKGROUND)
    assert figure.get_facecolor() == to_rgba("white")
    assert left.get_facecolor() != right.get_facecolor()


def test_more_classes_than_colours():
    n = len(style.COLOURS) + 1
    assert len(plotting.plot_points(np.eye(n)[:, :2], np.arange(n)).collections) == n


# The border is x0 = 0.7 in each of the forms that predict may take.
PREDICTS = {
    "(n,)": lambda x: x[:, 0] - 0.2,
    "(n, 1)": lambda x: x[:, :1] - 0.2,
    "(n, 2)": lambda x: np.stack([0.7 - 0.5 * x[:, 0], 0.5 * x[:, 0]], axis=1),
}


@pytest.mark.parametrize("form", PREDICTS)
@pytest.mark.parametrize("dark", [False, True])
def test_boundary_is_where_the_score_is_half(form, dark):
    ax = plotting.plot_decision_boundary(PREDICTS[form], X, Y, dark=dark)
    filled, border, *points = ax.collections
    assert border.levels.tolist() == [0.5]
    np.testing.assert_allclose(np.concatenate([path.vertices for path in border.get_paths()])[:, 0], 0.7)
    assert (filled.levels[0], filled.levels[-1]) == (0, 1)
    np.testing.assert_array_equal(points[1].get_offsets(), X[Y == 1])
    assert ax.get_facecolor() == to_rgba(style.DARK_BACKGROUND if dark else "white")


def test_no_boundary_where_all_scores_are_on_one_side():
    ax = plotting.plot_decision_boundary(lambda x: np.full(len(x), 0.2), X, Y)
    assert len(ax.collections) == 3, "filled contours and two classes of points"


# ---- images --------------------------------------------------------------------------------------------------


def test_weights_are_tiles_on_one_scale_around_0(rng):
    W = rng.standard_normal((12, 7))
    figure = plotting.plot_weights(W, (3, 4))
    mosaic = figure.axes[0].images[0]
    limit = abs(W).max()
    assert mosaic.get_clim() == (-limit, limit)
    tiles = np.ma.getdata(mosaic.get_array())
    for unit in range(7):  # rows of four, one pixel between
        top, left = unit // 4 * 4, unit % 4 * 5
        np.testing.assert_array_equal(tiles[top : top + 3, left : left + 4], W[:, unit].reshape(3, 4))
    assert np.isfinite(tiles).sum() == W.size
    assert figure.axes[1].get_ylabel() == "weight"


def test_weights_of_the_first_units(rng):
    figure = plotting.plot_weights(rng.standard_normal((784, 60)).astype(np.float32))
    assert figure.axes[0].get_title() == "Weights of 50 of 60 units"
    assert np.isfinite(np.ma.getdata(figure.axes[0].images[0].get_array())).sum() == 784 * 50
    assert plotting.plot_weights(np.zeros((4, 1))).axes[0].images[0].get_clim() == (-1, 1)


def test_mistakes_with_the_most_confident_first():
    images = np.arange(16).reshape(4, 4)
    probabilities = [[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]]
    figure = plotting.plot_mistakes(images, [0, 1, 0, 1], [1, 1, 1, 0], probabilities, ["no", "yes"])
    assert [ax.get_title() for ax in figure.axes] == ["no → yes (80%)", "yes → no (70%)", "no → yes (60%)"]
    shown = [ax.images[0].get_array().ravel().tolist() for ax in figure.axes]
    assert shown == [images[2].tolist(), images[3].tolist(), images[0].tolist()]
    assert figure.get_suptitle() == "3 mistakes among 4 images"


@pytest.mark.parametrize("shape", [(4,), (2, 2), (1, 2, 2)])
def test_mistakes_in_order_of_the_samples(shape):
    figure = plotting.plot_mistakes(np.zeros((5, *shape), np.uint8), [0, 1, 2, 3, 4], [1, 1, 0, 0, 0], n=2)
    assert [ax.get_title() for ax in figure.axes] == ["0 → 1", "2 → 0"]
    assert figure.axes[0].images[0].get_array().shape == (2, 2)
    assert figure.get_suptitle() == "2 of the 4 mistakes among 5 images"


def test_long_names_take_two_lines():
    figure = plotting.plot_mistakes(np.zeros((1, 4)), [0], [1], class_names=["ankle boot", "bag"])
    assert figure.axes[0].get_title() == "ankle boot →\nbag"
    assert figure.get_suptitle() == "1 mistake among 1 images"


def test_no_mistake_at_all():
    figure = plotting.plot_mistakes(np.zeros((3, 4)), [0, 1, 1], [0, 1, 1])
    assert isinstance(figure, Figure)
    assert figure.axes == []
    assert [text.get_text() for text in figure.texts] == ["No mistake among 3 images"]


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (3, 3), (5, 5), (7, 4), (10, 5), (25, 5), (50, 10), (64, 8)]
)
def test_grids_leave_few_places_empty(count, columns):
    assert canvas.columns(count) == columns


# ---- gradient checks -----------------------------------------------------------------------------------------


def checked(numerical, analytic, **marks):
    numerical, analytic = np.asarray(numerical, float), np.asarray(analytic, float)
    zero, no = np.zeros(numerical.shape), np.zeros(numerical.shape, bool)
    marks = {"kink": no, "nonfinite": no, "checked": ~no} | {key: np.array(mask, bool) for key, mask in marks.items()}
    # at a kink the difference is the mean of two slopes, of which the gradient is one
    return Evidence(analytic, numerical, zero, zero, **marks, left=2 * numerical - analytic, right=analytic)


def gradient_report(evidence):
    return GradientReport(evidence, n_evaluations=8, seconds=0.01)


def test_gradient_report_shows_values_and_errors():
    kink = np.array([[0, 0, 0], [0, 1, 0]], bool)
    W = checked([[1.0, 2.0, 3.0], [4.0, 0.5, 6.0]], [[1.0, 2.5, 3.0], [4.0, 1.0, 6.0]], kink=kink)
    W = dataclasses.replace(W, left=np.zeros(kink.shape), right=np.ones(kink.shape))
    b = checked([7.0, 8.0], [7.001, np.nan], checked=[True, False])
    figure = plotting.plot_gradient_report(gradient_report({"W": W, "b": b}))
    agreement, of_W, of_b, bar = figure.axes
    assert agreement.get_title() == "Gradient check failed"
    assert labels(agreement) == ["4 ok", "1 kink", "2 mismatch", "equal"]
    points = {line.get_label(): line.get_xydata().tolist() for line in agreement.lines}
    assert points["2 mismatch"] == [[2.0, 2.5], [7.0, 7.001]]
    assert points["1 kink"] == [[0.5, 1.0]]
    assert (of_W.get_title(), of_b.get_title()) == ("W: 1 mismatch", "b: 1 mismatch")
    floor = np.log10(8 * np.finfo(float).eps)
    expected = np.where((W.analytic == W.numerical) | kink, floor, np.log10(0.5))
    np.testing.assert_allclose(of_W.images[0].get_array(), expected)
    of_row = np.ma.filled(of_b.images[0].get_array(), np.nan)
    np.testing.assert_allclose(of_row, [[-3.0, np.nan]], atol=1e-9)
    assert of_W.images[0].get_clim() == of_b.images[0].get_clim() == pytest.approx((floor, np.log10(0.5)))
    marks = {line.get_label(): line.get_xydata().tolist() for line in of_W.lines}
    assert marks == {"kink": [[1.0, 1.0]], "mismatch": [[1.0, 0.0]]}, "column, row"
    assert bar.get_ylabel() == "log10 of the error"


@pytest.mark.parametrize("shape", [(), (1,), (2, 3, 4), (0, 3), (300, 40)])
def test_gradient_report_of_any_shape(shape, rng):
    g = rng.standard_normal(shape)
    figure = plotting.plot_gradient_report(gradient_report({"x": checked(g, g)}))
    assert len(figure.axes) == (3 if g.size else 1)
    failed = plotting.plot_gradient_report(gradient_report({"x": checked(g, -g)}))
    assert len(failed.axes) == len(figure.axes)
    assert g.size <= 200 or failed.axes[1].lines[:] == [], "marks would hide the map"


def test_gradient_report_draws_the_parameters_that_are_wrong(rng):
    g = rng.standard_normal(3)
    evidence = {f"b{i}": checked(g, g if i < 19 else -g) for i in range(20)}
    titles = [ax.get_title() for ax in plotting.plot_gradient_report(gradient_report(evidence)).axes[1:-1]]
    assert len(titles) == 12
    assert titles[-1] == "b19: 3 mismatch"
    nothing = plotting.plot_gradient_report(gradient_report({}))
    assert [ax.get_title() for ax in nothing.axes] == ["Gradient check passed"]


# ---- bad input -----------------------------------------------------------------------------------------------

BAD = [
    (plotting.plot_loss, ([],), "losses has shape (0,), expected (n,) with at least one number"),
    (plotting.plot_loss, ([[1.0, 2.0]],), "losses has shape (1, 2), expected (n,) with at least one number"),
    (plotting.plot_loss, ([1.0, np.nan],), "losses[1] is nan, expected finite numbers only"),
    (plotting.plot_loss, (["a"],), "losses is an array of dtype <U1, expected real numbers"),
    (plotting.plot_loss, ([1.0, 2.0], {"window": 3}), "window is 3, expected at most 2, the number of losses"),
    (plotting.plot_loss, ([1.0, 2.0], {"window": 0}), "window is 0, expected 1 or more"),
    (plotting.plot_accuracy, ([0.1],), "history is a list, expected a History"),
    (
        plotting.plot_accuracy,
        (History(loss=np.ones(3)),),
        "history has no values by epoch, expected a training with validation_data",
    ),
    (plotting.plot_gradient_report, ([],), "report is a list, expected a GradientReport"),
    (plotting.plot_curves, ([0.1],), "history is a list, expected a History"),
    (plotting.plot_curves, (History(),), "losses has shape (0,), expected (n,) with at least one number"),
    (
        plotting.plot_function_and_tangent,
        (parabola, [1.0, np.inf]),
        "x0s[1] is inf, expected finite numbers only",
    ),
    (
        plotting.plot_function_and_tangent,
        (parabola, [1.0], (2, 1)),
        "x_range is (2, 1), expected 2 numbers, in each pair the lesser before the greater",
    ),
    (
        plotting.plot_gradient_field,
        (bowl, (0, 1, 2)),
        "extent is (0, 1, 2), expected 4 numbers, in each pair the lesser before the greater",
    ),
    (plotting.plot_gradient_field, (bowl, {"n": 0}), "n is 0, expected 1 or more"),
    (plotting.plot_surface, (bowl, {"n": 1.5}), "n is 1.5, expected a whole number of 1 or more"),
    (plotting.plot_descent, (bowl, [1.0, 2.0]), "path has shape (2,), expected (n, 2) with at least one point"),
    (plotting.plot_points, (np.ones((3, 3)), Y), "X has shape (3, 3), expected (n, 2) with at least one point"),
    (plotting.plot_points, (X, [0, 1]), "y has shape (2,), expected (4,), a class a sample"),
    (plotting.plot_points, (X, Y * 0.5), "y is an array of dtype float64, expected integer labels 0 to 0"),
    (plotting.plot_points, (X, [0, -1, 1, 1]), "y[1] is -1, expected labels 0 to 1"),
    (plotting.plot_decision_boundary, (lambda x: x[:, 0], X, [0, 2, 1, 1]), "y[1] is 2, expected labels 0 to 1"),
    (
        plotting.plot_decision_boundary,
        (lambda x: x[:2], X, Y),
        "predict(x) has shape (2, 2), expected (40000,), (40000, 1) or (40000, 2) for 40000 points",
    ),
    (plotting.plot_weights, (np.ones(4),), "W has shape (4,), expected (n_in, n_units), neither of them 0"),
    (plotting.plot_weights, (np.ones((6, 2)),), "W has images of 6 pixels, expected a square number of pixels"),
    (plotting.plot_weights, (np.ones((6, 2)), (2, 2)), "W has images of 6 pixels, expected 2 x 2, the shape"),
    (plotting.plot_weights, (np.ones((6, 2)), 6), "shape is 6, expected (height, width)"),
    (plotting.plot_weights, ([[1.0], [np.nan]],), "W[1, 0] is nan, expected finite numbers only"),
    (
        plotting.plot_mistakes,
        (np.ones((2, 3, 2, 2)), [0, 1], [1, 1]),
        "images has shape (2, 3, 2, 2), expected (n, n_pixels), (n, height, width) or (n, 1, height, width), "
        "none of them 0",
    ),
    (plotting.plot_mistakes, (np.ones((2, 4)), [0], [1, 1]), "t_true has shape (1,), expected (2,), a class a sample"),
    (plotting.plot_mistakes, (np.ones((2, 4)), [0, 1], [1]), "t_pred has shape (1,), expected (2,), a class a sample"),
    (
        plotting.plot_mistakes,
        (np.ones((2, 4)), [0, 1], [1, 2], np.ones((2, 2))),
        "probabilities has shape (2, 2), expected (2, n_classes) with n_classes of at least 3",
    ),
    (
        plotting.plot_mistakes,
        (np.ones((2, 4)), [0, 1], [1, 2], None, ["a", "b"]),
        "class_names has 2 names, expected 3, one a class",
    ),
]


@pytest.mark.parametrize(("function", "arguments", "message"), BAD)
def test_bad_input_is_refused_in_one_sentence(function, arguments, message):
    named = arguments[-1] if isinstance(arguments[-1], dict) else {}
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        function(*arguments[: len(arguments) - bool(named)], **named)
    assert plt.get_fignums() == [], "no empty figure is left"


def test_surface_needs_three_dimensions():
    with pytest.raises(ValueError, match=r"^ax has two dimensions, expected axes made with projection='3d'$"):
        plotting.plot_surface(bowl, ax=plt.figure().add_subplot(), n=3)


# ---- the module ----------------------------------------------------------------------------------------------


PICTURES = (plotting.training, plotting.functions, plotting.planes, plotting.images, plotting.gradient_check)


def test_examples_in_docstrings():
    results = [doctest.testmod(module) for module in PICTURES]
    assert sum(result.attempted for result in results) >= 20
    assert not any(result.failed for result in results)


def test_import_leaves_matplotlib_alone():
    code = "import sys, nncore.plotting; print('matplotlib' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
