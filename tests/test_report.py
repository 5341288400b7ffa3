"""The report of a gradient check: every verdict, every fault caught and named, and texts that a person can read."""

import doctest
import html
import json
import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import nncore
from nncore.checking import report, table
from nncore.checking.causes import diagnosis
from nncore.checking.evidence import VERDICTS, Evidence, judge
from nncore.checking.report import GradientMismatch, GradientReport

U = 1e-10  # truncation and rounding of the measured gradients


def measured(
    numerical, analytic=None, *, u=U, kink=False, nonfinite=False, checked=True, jump=False, left=np.nan, right=np.nan,
    weight=None, rng=None,
):  # fmt: skip
    """Evidence; with rng the numerical values are as far off as u says."""
    numerical = np.array(numerical, dtype=float)
    analytic = numerical.copy() if analytic is None else np.array(analytic, dtype=float)
    if rng is not None:
        numerical = numerical + u * rng.standard_normal(numerical.shape)
    shape = numerical.shape
    masks = (np.array(np.broadcast_to(mask, shape), dtype=bool) for mask in (kink, nonfinite, checked, jump))
    sides = (np.array(np.broadcast_to(side, shape), dtype=float) for side in (left, right))
    weight = None if weight is None else np.array(weight, float)
    return Evidence(analytic, numerical, np.full(shape, u / 2), np.full(shape, u / 2), *masks, *sides, weight)


def reported(evidence, **named):
    if isinstance(evidence, Evidence):
        evidence = {"x": evidence}
    return GradientReport(evidence, **{"n_evaluations": 8, "seconds": 0.0123, **named})


def verdict(analytic, numerical, *, u=U, largest=0.0, rtol=1e-4, atol=0.0, weight=None, **marks):
    """The verdict of one element beside an element that is right, smooth and of this size."""
    among = {name: marks.pop(name) for name in ("among", "among_weighted") if name in marks}
    marks = {name: [mark, name == "checked"] for name, mark in marks.items()}
    evidence = measured([numerical, largest], [analytic, largest], u=u, weight=weight, **marks)
    return VERDICTS[judge(evidence, rtol=rtol, atol=atol, **among)[0]]


# ---- verdicts ------------------------------------------------------------------------------------------------

NAN, INF = np.nan, np.inf
ELEMENTS = [
    # analytic, numerical, what else is known, verdict
    (1.0, 1.0 + 3e-10, {}, "ok"),
    (1.0, 1.0 + 1e-8, {"rtol": 0.0}, "mismatch"),
    (1.0, 1.0 + 1e-5, {}, "ok"),  # the rtol of 1e-4
    (1.0, 1.0 + 3e-4, {}, "mismatch"),
    (1.0, 1.0 + 3e-6, {"rtol": 1e-6}, "mismatch"),
    (1.0, 1.0 + 3e-4, {"atol": 1e-3}, "ok"),
    (-1.0, 1.0, {}, "mismatch"),
    # zeros
    (0.0, 0.0, {}, "ok"),
    (0.0, 0.0, {"u": 1.0}, "ok"),
    (0.0, 1e-3, {}, "mismatch"),  # missing
    (1e-3, 0.0, {}, "mismatch"),
    # small elements
    (0.0, 3e-10, {}, "noise"),  # all there is, and nothing is known of it
    (0.0, 3e-10, {"largest": 1.0}, "ok"),  # nothing beside the others
    (0.0, 3e-10, {"largest": 1e-5}, "noise"),
    (2e-8, 2e-8 + 1e-12, {"largest": 1e-5}, "noise"),  # resolved to 2 % only
    (2e-8, 2e-8 + 1e-12, {"largest": 1e-5, "rtol": 0.03}, "ok"),
    (2e-8, 2e-8 + 1e-12, {"largest": 1e-3}, "ok"),  # and 2 % of it are nothing beside the others
    (2e-8, 3e-8, {"largest": 1e-3}, "mismatch"),  # but what is seen to be wrong is wrong
    (0.0, 3e-10, {"largest": 1.0, "weight": [1e3, 1e-3]}, "noise"),  # as its unit makes it matter
    (0.0, 3e-10, {"largest": 1.0, "weight": [1e-3, 1e-3]}, "ok"),
    (0.0, 3e-10, {"largest": 1.0, "weight": [1e-9, 1e3]}, "ok"),
    (0.0, 3e-10, {"among": 1.0}, "ok"),  # nothing beside other parameters
    (0.0, 3e-10, {"among": 1e-5}, "noise"),
    (0.0, 3e-10, {"among": NAN}, "noise"),
    (0.0, 3e-10, {"among": 1.0, "among_weighted": 1e3, "weight": [1e9, 1]}, "noise"),
    (0.0, 3e-10, {"among": 1.0, "among_weighted": 1e7, "weight": [1e9, 1]}, "ok"),
    (0.0, 3e-10, {"among": 1.0, "among_weighted": NAN}, "noise"),
    (1e-9, 1e-9, {"among": 1.0}, "noise"),  # it is no 0: what may be wrong with it is unknown
    (0.0, 3e-10, {"atol": 1e-9}, "ok"),  # resolved to what is forgiven
    # what the difference resolves
    (1.0, 1.01, {"u": 0.1}, "noise"),
    (1.0, 1.0, {"u": 0.1}, "noise"),  # agreement by chance approves nothing
    (1.0, 1.0, {"u": 2e-5}, "ok"),
    (1.0, 1.0, {"u": 3e-5}, "noise"),
    (1.0, 1.0, {"u": 3e-5, "rtol": 1e-3}, "ok"),
    (1.0, 3.0, {"u": 0.1}, "mismatch"),
    (1.0, 1.0, {"u": NAN}, "noise"),
    (0.0, 0.0, {"u": NAN}, "ok"),  # the function did not move
    (1.0, 2.0, {"u": NAN}, "noise"),  # an unknown error excuses, but approves nothing
    (1.0, 2.0, {"u": INF}, "noise"),
    (0.0, 1.0, {"u": NAN, "largest": 1e9}, "noise"),
    (0.0, 1.0, {"u": INF, "among": INF}, "noise"),
    # what is not finite
    (NAN, 1.0, {}, "nonfinite"),
    (1.0, NAN, {}, "nonfinite"),
    (INF, INF, {}, "nonfinite"),
    (NAN, NAN, {"u": 0.0}, "nonfinite"),
    (-INF, 1.0, {"kink": True}, "nonfinite"),
    (NAN, 1.0, {"kink": True, "left": 0.0, "right": 2.0}, "nonfinite"),
    (NAN, 1.0, {"jump": True, "left": 0.0, "right": INF}, "nonfinite"),
    (INF, 1.0, {"jump": True, "left": 0.0, "right": INF}, "nonfinite"),
    (1.0, 1.0, {"nonfinite": True}, "nonfinite"),
    (0.5, 0.5, {"nonfinite": True, "kink": True, "left": 0.0, "right": 1.0}, "nonfinite"),
    # kinks: one of the slopes of the two sides, or between
    (1.0, 0.5, {"kink": True, "left": 0.0, "right": 1.0}, "kink"),
    (0.0, 0.5, {"kink": True, "left": 0.0, "right": 1.0}, "kink"),
    (0.3, 0.5, {"kink": True, "left": 1.0, "right": 0.0}, "kink"),
    (0.5, 0.5, {"kink": True, "left": 0.0, "right": 1.0}, "kink"),  # the middle one is seen as well
    (1.00005, 0.5, {"kink": True, "left": 0.0, "right": 1.0}, "kink"),
    (1.0003, 0.5, {"kink": True, "left": 0.0, "right": 1.0}, "mismatch"),
    (1.0003, 0.5, {"kink": True, "left": 0.0, "right": 1.0, "u": 1e-3}, "kink"),
    (-0.1, 0.5, {"kink": True, "left": 0.0, "right": 1.0}, "mismatch"),
    (2.0, 0.5, {"kink": True, "left": 0.0, "right": 1.0}, "mismatch"),  # twice too large
    (0.0, 1.5, {"kink": True, "left": 1.0, "right": 2.0}, "mismatch"),  # missing
    (-1.0, 1.5, {"kink": True, "left": 1.0, "right": 2.0}, "mismatch"),  # flipped
    (1.0, 0.9, {"kink": True, "left": 0.8, "right": 1.0, "u": 0.1}, "kink"),
    (1.0, 0.9, {"kink": True, "left": 0.8, "right": 1.0, "u": 0.2}, "noise"),  # as 0 would pass
    (1.0, 1e5, {"jump": True, "left": 1.0, "right": INF, "u": 0.2}, "noise"),
    (1.0, 0.9, {"kink": True, "left": 0.8, "right": 1.0, "u": 0.2, "largest": 1e9}, "kink"),  # if it mattered
    (1.0, 0.5, {"kink": True}, "noise"),  # nobody looked at its sides
    (0.5, 0.5, {"kink": True}, "noise"),
    (0.0, 0.0, {"kink": True}, "noise"),
    (2.0, 0.5, {"kink": True, "left": 0.0, "right": 1.0, "u": NAN}, "noise"),  # whatever they are
    (0.5, 0.5, {"kink": True, "left": NAN, "right": 1.0}, "mismatch"),
    (1.0, 0.5, {"kink": True, "left": NAN, "right": 1.0}, "kink"),
    # jumps: the slope of the side where there is none
    (0.25, 1e5, {"jump": True, "left": 0.25, "right": INF}, "jump"),
    (0.25, -1e5, {"jump": True, "left": -INF, "right": 0.25}, "jump"),
    (0.25003, 1e5, {"jump": True, "left": 0.25, "right": INF}, "mismatch"),
    (1e5, 1e5, {"jump": True, "left": 0.25, "right": INF}, "mismatch"),
    (0.0, INF, {"jump": True, "left": 0.0, "right": INF}, "jump"),  # it did not move on that side
    (1e-3, INF, {"jump": True, "left": 0.0, "right": INF}, "mismatch"),
    (0.0, INF, {"jump": True, "left": 1e-10, "right": INF}, "noise"),
    (0.5, 0.5, {"jump": True}, "noise"),
    (0.5, 0.5, {"jump": True, "left": -INF, "right": INF}, "noise"),
    # what was not looked at
    (1.0, 2.0, {"checked": False}, "unchecked"),
    (NAN, 2.0, {"checked": False, "nonfinite": True, "kink": True, "jump": True}, "unchecked"),
    # the ends of the numbers
    (1e308, -1e308, {}, "mismatch"),
    (1e308, 1e308, {"u": 0.0}, "ok"),
    (1e-300, 1e-300, {"u": 0.0}, "ok"),
    (2e-300, 1e-300, {"u": 0.0}, "mismatch"),
    (5e-324, 5e-324, {"u": 0.0}, "ok"),
    (5e-324, 0.0, {"u": 0.0}, "mismatch"),
]  # fmt: skip


@pytest.mark.parametrize(("analytic", "numerical", "known", "expected"), ELEMENTS)
def test_verdict_of_one_element(analytic, numerical, known, expected):
    assert verdict(analytic, numerical, **known) == expected


@pytest.mark.parametrize("n", [1, 10, 100_000])
def test_tolerance_does_not_grow_with_the_array(n):
    analytic = np.ones(n)
    analytic[n // 2] += 3e-4
    codes = judge(measured(np.ones(n), analytic))
    assert VERDICTS[codes[n // 2]] == "mismatch"
    assert np.count_nonzero(codes == VERDICTS.index("ok")) == n - 1


def test_a_large_right_gradient_passes(rng):
    """The factor on the estimate: 100,000 rounding errors of that standard deviation, none of them a mismatch."""
    true = 1 + rng.random(100_000)
    noisy = measured(true + 1e-4 * rng.standard_normal(true.size), true, u=1e-4)
    assert reported(noisy, rtol=0.0).counts["mismatch"] <= 10  # 3.99 sigma: 7 expected
    assert reported(noisy).counts["noise"] >= true.size - 10  # 4e-4 is not the 1e-4 asked for
    assert reported(noisy, rtol=1e-3).counts["noise"] == 0
    assert reported(measured(true, true + 1e-3, u=1e-4)).counts["mismatch"] == true.size


@pytest.mark.parametrize("field", ["analytic", "numerical", "truncation", "rounding", "left", "right", "weight"])
@pytest.mark.parametrize("broken", ["", "kink", "jump"])
def test_nan_never_decides_for_fine(field, broken, rng):
    """Whatever is not known of an element, it is neither ok nor passed over as a kink or a jump."""
    g = rng.standard_normal(6)
    marks = {"left": g - 1, "right": g + 1} | ({broken: True} if broken else {}) | {"weight": np.ones(6)}
    evidence = measured(g, g, **marks)
    assert {VERDICTS[code] for code in judge(evidence)} <= {"ok", "kink", "mismatch"}
    getattr(evidence, field)[:3] = NAN
    words = [VERDICTS[code] for code in judge(evidence)[:3]]
    unused = ["weight", "numerical"] if broken else ["weight", "left", "right"]
    if field in unused:
        return
    if field in ("left", "right"):
        assert set(words) == {"mismatch"}, "what is no slope of the side that is known"
    elif field in ("analytic", "numerical"):
        assert set(words) == {"nonfinite"}
    else:
        assert set(words) == {"noise"}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"rtol": NAN}, ValueError, "rtol is nan, expected a finite number of 0 or more"),
        ({"atol": NAN}, ValueError, "atol is nan, expected a finite number of 0 or more"),
        ({"rtol": INF}, ValueError, "rtol is inf, expected a finite number of 0 or more"),
        ({"rtol": -1e-6}, ValueError, "rtol is -1e-06, expected a finite number of 0 or more"),
        ({"rtol": True}, TypeError, "rtol is True, expected a finite number of 0 or more"),
        ({"atol": np.True_}, TypeError, "atol is .*True.*, expected a finite number of 0 or more"),
        ({"kinks": "maybe"}, ValueError, "kinks is 'maybe', expected one of 'ignore', 'fail'"),
        ({"noise": "maybe"}, ValueError, "noise is 'maybe', expected one of 'fail', 'report'"),
    ],
)
def test_settings_that_could_let_anything_pass_are_refused(settings, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        reported(measured([1.0], [3.0]), **settings)


def test_float32_and_scalar_evidence():
    x = np.array(2.0, np.float32)
    no = np.array(False)
    single = Evidence(x, np.array(2.0 + 1e-9), x * 0, x * 0, no, no, ~no)
    found = reported(single)
    assert found.passed
    assert found.worst(1)[0].index == ()
    assert str(found.worst(1)[0]).startswith("x: analytic 2.0, numerical 2.000000001")
    assert str(found).splitlines()[5].split() == ["x", "()", "1", "2", "2", "1.0e-09", "5.0e-10", "ok"]
    assert found.plot() is not None


def test_shapes_must_agree():
    zero, no = np.zeros(3), np.zeros(3, bool)
    with pytest.raises(ValueError, match=r"^rounding has shape \(2,\), expected \(3,\) as analytic$"):
        Evidence(zero, zero, zero, np.zeros(2), no, no, no)


# ---- passing and failing -------------------------------------------------------------------------------------

ONE_OF_EACH = measured(
    [1.0, 1.0, 1.0, 0.5, 0.0, 1.0, 1e6, 3e-10],
    [1.0, 4.0, NAN, 1.0, 3e-10, 2.0, 0.25, 3e-10],
    kink=[0, 0, 0, 1, 0, 0, 0, 0],
    checked=[1, 1, 1, 1, 1, 0, 1, 1],
    jump=[0, 0, 0, 0, 0, 0, 1, 0],
    left=[NAN, NAN, NAN, 0.0, NAN, NAN, 0.25, NAN],
    right=[NAN, NAN, NAN, 1.0, NAN, NAN, INF, NAN],
    weight=[1, 1, 1, 1, 1, 1, 1, 1e9],
)
WORDS = ["ok", "mismatch", "nonfinite", "kink", "ok", "unchecked", "jump", "noise"]


def one(analytic, numerical, **marks):
    return reported(measured([numerical], [analytic], **marks))


def test_what_fails():
    assert one(1.0, 1.0).passed
    assert not one(2.0, 1.0).passed
    assert not one(NAN, 1.0).passed
    kink = measured([0.5], [1.0], kink=True, left=0.0, right=1.0)
    jump = measured([1e9], [1.0], jump=True, left=1.0, right=INF)
    for broken in (kink, jump):
        assert reported(broken).passed
        assert not reported(broken, kinks="fail").passed
    # the value in the middle is a kink as well
    middle = reported(measured([0.5], [0.5], kink=True, left=0.0, right=1.0), kinks="fail")
    assert (middle.passed, middle.counts["kink"]) == (False, 1)
    for outside in ([2.0], [-1.0], [-1e-3], [1.001]):
        assert not reported(measured([0.5], outside, kink=True, left=0.0, right=1.0)).passed
    assert not reported(measured([1e9], [1e9], jump=True, left=1.0, right=INF)).passed


@pytest.mark.parametrize(("noisy", "n", "passed"), [(1, 1, False), (1, 2, True), (2, 3, False), (5, 10, True)])
def test_most_of_a_parameter_unresolved_fails(noisy, n, passed):
    """More than half of what was checked, of any one parameter, and unless it is to be reported only."""
    u = np.where(np.arange(n) < noisy, 1.0, 1e-10)
    rest = {"b": measured(np.ones(100)), "c": measured(np.ones((0, 2)))}
    found = reported({"a": measured(np.ones(n), u=u), **rest})
    assert (found.passed, found.counts["noise"]) == (passed, noisy)
    assert found.unresolved == ([] if passed else ["a"])
    assert f"{noisy} noise" in str(found).splitlines()[0]
    assert f"noise: {noisy} of {n} elements of a" in "\n".join(found.notes)
    assert ("most of it is unresolved" in "\n".join(found.notes)) != passed
    told = reported({"a": measured(np.ones(n), u=u), **rest}, noise="report")
    assert (told.passed, told.counts) == (True, found.counts)
    assert "worst elements" not in str(told)
    assert f"{noisy} noise" in str(told).splitlines()[0]
    if passed:
        found.raise_if_failed()
    else:
        with pytest.raises(GradientMismatch, match=r"^a\[0\]: analytic 1.0, numerical 1.0 \(noise\), tolerance 4"):
            found.raise_if_failed()


def test_noise_is_counted_among_what_was_checked():
    checked = [1, 1, 0, 0, 0, 0]
    u = np.array([1, 1e-10, 1e-10, 1e-10, 1e-10, 1e-10])
    assert reported(measured(np.ones(6), u=u, checked=checked)).passed
    assert not reported(measured(np.ones(6), u=u[::-1].copy(), checked=checked[::-1])).unresolved
    assert reported(measured(np.ones(6), u=u, checked=[1, 0, 0, 0, 0, 0])).unresolved == ["x"]
    # a kink is no answer to whether the others are right
    kinks = measured(np.ones(6), u=np.ones(6), kink=[1, 1, 0, 0, 0, 0], left=0.0, right=1.0)
    assert not reported(kinks).passed


def test_what_is_unresolved_makes_nothing_else_immaterial():
    """1e3, of which 4e4 are not known, does not make 3e-10 a trifle."""
    u = np.array([1e4, 1e-10])
    found = reported({"a": measured([1e3, 3e-10], [1e3, 0.0], u=u), "b": measured([3e-10], [0.0])})
    assert found.verdict["a"].tolist() == ["noise", "noise"]
    assert found.verdict["b"].tolist() == ["noise"]


def test_what_an_ok_says_is_said():
    """The largest relative error that an element judged ok could hide; those below what matters are not asked."""
    found = reported({"a": measured([1.0, 2.0], u=1e-6), "b": measured([1.0, 1e-12], u=1e-9), "c": measured([0.0])})
    assert found.passed
    assert found.smallest_error["a"] == pytest.approx(1e-4 + 4e-6)
    assert found.smallest_error["b"] == pytest.approx(1e-4 + 4e-9)
    assert np.isnan(found.smallest_error["c"])
    assert "tolerance 0.0001 of the element + 4 x estimated error of the difference; any of 0.0001 would" in " ".join(
        str(found).split()
    )
    assert set(found.smallest_error) == {"a", "b", "c"}


def test_counts_and_arrays():
    found = reported({"x": ONE_OF_EACH, "y": measured([[1.0]])})
    assert found.counts == {
        "unchecked": 1, "ok": 3, "mismatch": 1, "kink": 1, "jump": 1, "noise": 1, "nonfinite": 1,
    }  # fmt: skip
    assert found.verdict["x"].tolist() == WORDS
    assert found.verdict["y"].shape == (1, 1)
    assert found.analytic["x"] is ONE_OF_EACH.analytic
    assert found.numerical["x"] is ONE_OF_EACH.numerical
    # at a kink and a jump: how far beyond the slopes of the sides
    np.testing.assert_allclose(found.error["x"], [0, 3, NAN, 0, 3e-10, 1, 0, 0])
    np.testing.assert_allclose(found.tolerance["x"][:2], [1e-4 + 4e-10, 4e-4 + 4e-10])
    assert (found.max_abs_error, found.max_rel_error) == (3.0, 0.75)


def test_largest_errors_are_of_what_the_difference_resolves():
    found = reported(measured([1.0, 0.0, 0.0], [1.0 + 1e-7, 3e-10, 0.0]))
    assert found.passed
    assert found.max_rel_error == pytest.approx(1e-7)
    assert found.max_abs_error == pytest.approx(1e-7)
    nothing = reported({})
    assert (nothing.passed, nothing.max_abs_error, nothing.worst()) == (True, 0.0, [])


def test_worst_first():
    found = reported({"x": ONE_OF_EACH, "y": measured([[5.0, 1.0]], [[6.0, 1.0 + 1e-7]])})
    worst = found.worst(10)
    assert [(e.name, *e.index) for e in worst] == [
        ("x", 2), ("x", 1), ("y", 0, 0), ("x", 4), ("y", 0, 1), ("x", 0), ("x", 3), ("x", 6), ("x", 7),
    ]  # fmt: skip
    assert worst[1] == report.Element("x", (1,), 4.0, 1.0, 3.0, found.tolerance["x"][1], 0.75, "mismatch")
    assert [e.index for e in found.worst(1, "y")] == [(0, 0)]
    assert len(found.worst()) == 5
    with pytest.raises(ValueError, match=r"^k is 0, expected 1 or more$"):
        found.worst(0)
    with pytest.raises(ValueError, match=r"^name is 'z', expected one of 'x', 'y'$"):
        found.worst(1, "z")


@pytest.mark.parametrize(
    ("analytic", "numerical", "words"),
    [
        (4.0, 1.0, "analytic 4.0, numerical 1.0 (4 times too large)"),
        (0.3, 0.9, "analytic 0.3, numerical 0.9 (3 times too small)"),
        (-1.0, 1.0, "analytic -1.0, numerical 1.0 (sign flipped)"),
        (-3.0, 1.0, "analytic -3.0, numerical 1.0 (sign flipped, 3 times too large)"),
        (-0.0, 1.0, "analytic 0.0, numerical 1.0 (missing: it is 0)"),
        (2.0, 0.0, "analytic 2.0, numerical 0.0 (should be about 0)"),
        (1.0 + 2e-4, 1.0, "analytic 1.0002, numerical 1.0 (0.02 % too large)"),
        (1.02, 1.0, "analytic 1.02, numerical 1.0 (2 % too large)"),
        (1e-20, 1e5, "analytic 1e-20, numerical 100000.0 (1e+25 times too small)"),
        (NAN, 0.0, "analytic nan, numerical 0.0 (nonfinite)"),
    ],
)
def test_an_element_in_words(analytic, numerical, words):
    (element,) = one(analytic, numerical).worst()
    assert str(element).startswith(f"x[0]: {words}, tolerance ")


def test_raise_if_failed():
    reported(measured([1.0])).raise_if_failed()
    found = reported({"b1": measured(np.ones(5), [1, 1, 1, 4, 1])})
    with pytest.raises(GradientMismatch) as caught:
        found.raise_if_failed()
    assert isinstance(caught.value, AssertionError)
    first, *rest = str(caught.value).splitlines()
    assert first == "b1[3]: analytic 4.0, numerical 1.0 (4 times too large), tolerance 0.0004"
    assert str(found).splitlines() == rest[1:]
    assert caught.value.report is found
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_public_names():
    assert nncore.GradientReport is GradientReport
    assert nncore.GradientMismatch is GradientMismatch


# ---- hints ---------------------------------------------------------------------------------------------------

SHAPES = {"W1": (6, 4), "b1": (4,), "W2": (4, 4), "b2": (4,), "s": ()}


@pytest.fixture
def true(rng):
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def shifted(b):
    """Shifted by one, and 0 moved in."""
    return np.concatenate([[0.0], b[:-1]])


# name of the parameter, its wrong gradient from the true ones g and the values v, what is said
FAULTS = {
    "sign": ("b1", lambda g, v: -g["b1"], "the sign of b1 is flipped"),
    "factor": ("W1", lambda g, v: 1.3 * g["W1"], "all elements of W1 are 1.3 times too large"),
    "half": ("W1", lambda g, v: g["W1"] / 2, "all elements of W1 are 2 times too small: a factor of 2 forgotten?"),
    "double": (
        "W1",
        lambda g, v: g["W1"] * 2,
        "all elements of W1 are 2 times too large: a factor of 1/2 forgotten, or the sum of 2 samples?",
    ),
    "sum": ("b1", lambda g, v: 100 * g["b1"], "all elements of b1 are 100 times too large: sum instead of mean"),
    "mean": ("b1", lambda g, v: g["b1"] / 7, "all elements of b1 are 7 times too small: divided by 7 samples twice?"),
    "sign and factor": (
        "b1",
        lambda g, v: -7 * g["b1"],
        "all elements of b1 are of the wrong sign and 7 times too large: sum instead of mean over 7 samples?",
    ),
    "scalar": ("s", lambda g, v: 3 * g["s"], "s is 3 times too large"),
    "scalar sign": ("s", lambda g, v: -g["s"], "the sign of s is flipped"),
    "missing": ("b2", lambda g, v: 0 * g["b2"], "the gradient of b2 is missing: all zero"),
    "transposed": ("W2", lambda g, v: g["W2"].T, "W2 is transposed"),
    "reshaped": ("W1", lambda g, v: g["W1"].T.reshape(6, 4), "W1 is transposed in memory: reshape where .T was meant?"),
    "rolled": ("b1", lambda g, v: np.roll(g["b1"], 1), "b1 is shifted by one element"),
    "rolled back": ("b1", lambda g, v: np.roll(g["b1"], -1), "b1 is shifted by one element"),
    "shifted": ("b1", lambda g, v: shifted(g["b1"]), "b1 is shifted by one element"),
    "row": ("W1", lambda g, v: np.roll(g["W1"], 1, axis=0), "W1 is shifted by one row"),
    "column": ("W1", lambda g, v: np.roll(g["W1"], -1, axis=1), "W1 is shifted by one column"),
    "reversed": ("b1", lambda g, v: g["b1"][::-1], "b1 is in reverse order"),
    "rows reversed": ("W1", lambda g, v: g["W1"][::-1], "W1 is in reverse order along axis 0"),
    "another": ("b1", lambda g, v: g["b2"], "the gradient of b1 looks like that of b2"),
    "L2 in the loss": (
        "W1",
        lambda g, v: g["W1"] - 0.001 * v["W1"],
        "the error of W1 is -0.001 times the parameter's values: is the L2 regularisation missing in the gradient?",
    ),
    "L2 in the gradient": (
        "W1",
        lambda g, v: g["W1"] + 0.02 * v["W1"],
        "the error of W1 is 0.02 times the parameter's values: is the L2 regularisation missing in the loss?",
    ),
    "L1 in the loss": (
        "W1",
        lambda g, v: g["W1"] - 0.01 * np.sign(v["W1"]),
        "the error of W1 is -0.01 times the signs of its values: is the L1 regularisation missing in the gradient?",
    ),
    "one element": ("W1", lambda g, v: changed(g["W1"], (3, 2), 9.0), "1 of 24 elements of W1 differs: W1[3, 2]"),
    "two elements": (
        "W1",
        lambda g, v: changed(g["W1"], ([3, 5], [2, 0]), 9.0),
        "2 of 24 elements of W1 differ: W1[3, 2], W1[5, 0]",
    ),
    "one row": ("W2", lambda g, v: changed(g["W2"], 1, 9.0), "all 4 errors of W2 are in W2[1, :]"),
    "last column": ("W1", lambda g, v: changed(g["W1"], (slice(None), 3), 9.0), "all 6 errors of W1 are in W1[:, 3]"),
    "no pattern": ("b1", lambda g, v: v["b1"] ** 2 - g["b1"], ""),
    "no pattern, bias right": ("W1", lambda g, v: v["W1"] ** 2 - g["W1"], "b1 is right and W1 is not: are the inputs"),
}  # fmt: skip


@pytest.mark.parametrize("u", [1e-13, 1e-8, 1e-5])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_and_named(fault, u, true, rng):
    values = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    wrong, fault_of, hint = FAULTS[fault]
    evidence = {name: measured(g, u=u, rng=rng) for name, g in true.items()}
    evidence[wrong] = measured(true[wrong], fault_of(true, values), u=u, rng=rng)
    found = reported(evidence, values=values)
    assert not found.passed
    assert {name for name, array in found.verdict.items() if (array == "mismatch").any()} == {wrong}
    assert found.worst(1)[0].name == wrong
    assert len(found.hints) == bool(hint)
    assert not hint or found.hints[0].startswith(hint)


@pytest.mark.parametrize("u", [0.0, 1e-13, 1e-8, 1e-2, 1.0])
def test_a_right_gradient_yields_no_hint(u, true, rng):
    evidence = {name: measured(g, u=u, rng=rng) for name, g in true.items()}
    found = reported(evidence, values=true)
    assert found.passed == (u < 1e-2)
    assert found.counts["mismatch"] == 0
    assert found.hints == []
    assert (found.counts["noise"] > 0) == (u >= 1e-2)
    assert ("noise: " in str(found)) == (u >= 1e-2)


def test_one_fault_of_several_parameters_is_said_once(true):
    evidence = {name: measured(g, 5 * g) for name, g in true.items() if name != "s"}
    (hint,) = reported(evidence).hints
    assert hint == "all elements of every parameter are 5 times too large: sum instead of mean over 5 samples?"
    evidence["W1"] = measured(true["W1"])
    (hint,) = reported(evidence).hints
    assert hint.startswith("all elements of b1, W2 and b2 are 5 times too large")
    many = {f"b{i}": measured(true["b1"], -true["b1"]) for i in range(12)} | {"W1": measured(true["W1"])}
    assert reported(many).hints == ["the sign of b0, b1, b2, b3 and 8 more is flipped"]


def test_hints_see_only_what_was_checked(true, rng):
    checked = rng.random((6, 4)) < 0.5
    (hint,) = reported(measured(true["W1"], 3 * true["W1"], checked=checked)).hints
    assert hint.startswith("all checked elements of x are 3 times too large")
    numerical = np.where(checked, true["W1"], NAN)
    assert reported(measured(numerical, 3 * true["W1"], checked=checked)).hints == [hint]


def test_hints_pass_over_kinks(true):
    wrong = changed(-true["W1"], (2, 2), 77.0)
    kink = np.zeros((6, 4), bool)
    kink[2, 2] = True
    assert reported(measured(true["W1"], wrong, kink=kink, left=0.0, right=99.0)).hints == ["the sign of x is flipped"]


def test_one_ratio_of_one_element_is_no_rule():
    """Of a gradient that is 0 but for one element, the factor of that element says nothing of all."""
    found = reported(measured([0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 3.0, 0.0]))
    assert found.hints == ["1 of 4 elements of x differs: x[2]"]


def test_an_unresolved_factor_is_not_named(rng):
    g = 1e-3 * rng.standard_normal(20)
    found = reported(measured(g, g + 1.0, u=1e-3, rng=rng))
    assert found.counts["mismatch"] > 0
    assert found.hints == []


def test_a_factor_is_whole_only_where_its_neighbours_are_excluded(rng):
    g = 1 + rng.random(5)
    noisy = measured(g, 30.3 * g, u=0.01, rng=rng)
    assert reported(noisy).hints == ["all elements of x are 30 times too large"], "31 samples cannot be excluded"


# ---- texts ---------------------------------------------------------------------------------------------------

FAILED = {
    "W1": measured([[1.0, 2.0], [0.25, 0.5]], [[1.0, 2.0], [0.25, 1.0]], kink=[[0, 0], [0, 1]], left=0.0, right=1.0),
    "b1": measured([0.5, -0.25], [2.0, -1.0]),
}

TABLE = """\
Gradient check FAILED: 2 mismatch, 1 kink, 3 ok; every element, 8 evaluations, 12.3 ms
largest error 1.5 absolute, 0.75 relative; tolerance 0.0001 of the element + 4 x estimated error of the difference; any
  of 0.0001 would have shown

parameter  shape   checked  worst   analytic  numerical  abs error  rel error  verdict
W1         (2, 2)  4        [0, 0]         1          1    0.0e+00    0.0e+00  ok, 1 kink
b1         (2,)    2        [0]            2        0.5    1.5e+00    7.5e-01  mismatch

worst elements
  b1[0]: analytic 2.0, numerical 0.5 (4 times too large), tolerance 0.0002
  b1[1]: analytic -1.0, numerical -0.25 (4 times too large), tolerance 0.0001

likely wrong
  all elements of b1 are 4 times too large: sum instead of mean over 4 samples?

notes
  a passed check of directions could have missed 1e-7
  kink: 1 element, such as W1[1, 1], where the slopes of the two sides differ and the gradient is one of them or
    between: is the derivative chosen there, as relu'(0), meant?"""


def test_the_table():
    found = reported(FAILED, note="a passed check of directions could have missed 1e-7")
    assert str(found) == TABLE
    assert repr(found) == TABLE


def test_the_table_of_a_passed_check():
    unchecked = measured(np.ones(3), checked=False)
    partly = measured(np.ones(2000), checked=np.arange(2000) < 5)
    evidence = {"W": partly, "b": unchecked, "none": measured(np.ones((0, 3)))}
    found = reported(evidence, mode="5 of 2,003 elements at random", seconds=75.0, n_evaluations=12345, atol=1e-9)
    heading, tolerance, _, _, _, *rows = str(found).splitlines()
    assert heading == "Gradient check PASSED: 5 ok; 5 of 2,003 elements at random, 12,345 evaluations, 75.0 s"
    assert "tolerance 0.0001 of the element + 1e-09 + 4 x" in tolerance
    assert [re.split(" {2,}", row) for row in rows] == [
        ["W", "(2000,)", "5 of 2,000", "[0]", "1", "1", "0.0e+00", "0.0e+00", "ok"],
        ["b", "(3,)", "0 of 3", "-", "-", "-", "-", "-", "unchecked"],
        ["none", "(0, 3)", "0", "-", "-", "-", "-", "-", "unchecked"],
    ]
    assert "nothing to check" in str(reported({}))


def last_cell(found):
    (row,) = (line for line in str(found).splitlines() if line.startswith("x "))
    return row.split("  ")[-1]


def test_verdicts_of_a_parameter():
    assert last_cell(reported({"x": ONE_OF_EACH})) == "1 mismatch, 1 nonfinite, 1 jump, 1 kink,..."
    assert last_cell(reported(measured([1.0, 3e-10], [1.0, 0.0], u=1e-7 / 4))) == "ok"
    noisy = reported(measured([1.0, 3e-6], [1.0, 0.0], u=1e-6))
    assert noisy.passed
    assert str(noisy).splitlines()[5].endswith("  -  ok, 1 noise")
    assert last_cell(one(1.0, 0.5, kink=True, left=0.0, right=1.0)) == "kink"
    assert last_cell(one(1.0, 1e5, jump=True, left=1.0, right=INF)) == "jump"


def test_jumps_are_noted():
    found = one(1.0, 1e5, jump=True, left=1.0, right=INF)
    (note,) = found.notes
    assert note.startswith("jump: 1 element, such as x[0], where the function itself jumps")
    assert str(found).splitlines()[0].startswith("Gradient check PASSED: 1 jump;")


@pytest.mark.parametrize("u", [1e-10, 10.0])
def test_every_line_fits(u, rng):
    names = ["a_parameter_with_a_name_that_is_much_too_long_for_any_table.weight", "W"]
    g = -rng.standard_normal((1234, 7)) * 10.0 ** rng.integers(-300, 300, (1234, 7))
    marks = {"kink": rng.random(g.shape) < 0.2, "checked": rng.random(g.shape) < 0.9, "left": g, "right": 2 * g}
    marks["jump"] = rng.random(g.shape) < 0.1
    evidence = {name: measured(g, g * rng.choice([1, 1, 2, NAN], g.shape), u=u, **marks) for name in names}
    text = str(reported(evidence, mode="a very long mode " * 12, note="words " * 50))
    assert max(map(len, text.splitlines())) <= 120
    assert any(line.startswith("a_para") for line in text.splitlines())
    assert text.isascii()


class Cells(HTMLParser):
    """The texts of a page, and whether its tags are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts += [data.strip()] if data.strip() else []


def test_html_has_the_same_content_escaped():
    evidence = {"<b>W & co": FAILED["b1"], "W1": FAILED["W1"]}
    found = reported(evidence, note="<script>")
    page = found._repr_html_()
    assert "<script>" not in page
    assert "<b>W" not in page
    assert html.escape("<b>W & co") in page
    text = " ".join(Cells(page).texts)
    assert re.sub(r"\s+", " ", str(found)) == re.sub(r"\s+", " ", text)


def test_an_html_page_of_its_own():
    found = reported({"<b>W & co": FAILED["b1"], "W1": FAILED["W1"]}, note="</body><script>")
    page = found.to_html()
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n')
    assert page.endswith("</body>\n</html>\n")
    assert page.count("</body>") == page.count("<body>") == page.count("<title>") == 1
    assert "<script" not in page
    title, style, *texts = Cells(page).texts
    assert title == "Gradient check failed"
    assert style == table.STYLE
    assert re.sub(r"\s+", " ", " ".join(texts)) == re.sub(r"\s+", " ", str(found))
    assert "<title>Gradient check passed</title>" in one(1.0, 1.0).to_html()
    # nothing is fetched from elsewhere
    assert not re.search(r"(src|href|url)\s*[=(]", page)


def test_json_holds_everything():
    content = json.loads(
        reported({"x": ONE_OF_EACH, "s": measured(2.0)}, note="n", noise_level={"x": 1e-12, "s": NAN}).to_json()
    )
    assert (content["passed"], content["counts"]["mismatch"], content["n_evaluations"]) == (False, 1, 8)
    assert (content["mode"], content["rtol"], content["kinks"], content["notes"][0]) == (
        "every element", 1e-4, "ignore", "n",
    )  # fmt: skip
    x = content["parameters"]["x"]
    assert x["shape"] == [8]
    assert x["analytic"] == [1.0, 4.0, "NaN", 1.0, 3e-10, 2.0, 0.25, 3e-10]
    assert x["numerical"] == ONE_OF_EACH.numerical.tolist()
    assert x["verdict"] == WORDS
    assert content["noise"] == "fail"
    assert content["noise_level"] == {"x": 1e-12, "s": "NaN"}
    assert content["smallest_error"]["s"] == pytest.approx(1e-4, rel=1e-3)
    assert {"error", "tolerance", "truncation", "rounding"} < set(x)
    assert content["parameters"]["s"]["numerical"] == 2.0
    assert content["worst"][1]["index"] == [1]
    assert content["worst"][1]["verdict"] == "mismatch"
    infinite = json.loads(one(INF, -INF).to_json())["parameters"]["x"]
    assert (float(infinite["analytic"][0]), float(infinite["numerical"][0])) == (INF, -INF)


def test_a_report_is_cheap(rng):
    """A network of 84,060 parameters is checked in a fraction of a second: the report must not take longer."""
    import time

    g = rng.standard_normal(84_060)
    evidence = {"x": measured(g, changed(g, 5, 9.0))}
    start = time.perf_counter()
    str(reported(evidence))
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("module", [report, diagnosis])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0
