"""The gradient check against families of functions, and the instrument against itself: see gradient_families.py."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from gradient_families import FAMILIES, PLAIN, examine, play, table, total, tournament
from gradient_instances import (
    EPS,
    derivative,
    flat,
    generator,
    informed_difference,
    make,
    shaped,
    wrong_gradients,
)

ALL = os.environ.get("NNCORE_TEST_ALL") == "1"
SEEDS = range(16) if ALL else range(3)


@pytest.fixture(scope="module")
def scores():
    """Everything is played once for all bars."""
    return tournament(SEEDS)


def test_right_gradients_are_not_refused(scores):
    everything = total(scores)
    assert len(everything.trials["refused"]) <= 0.01 * everything.right, "\n" + table(scores)


def test_wrong_gradients_are_not_let_through(scores):
    everything = total(scores)
    assert len(everything.missed()) <= 0.02 * everything.wrong, "\n" + table(scores)


def test_nothing_raises_and_x_stays_as_it_was(scores):
    assert not total(scores).trials["broken"]


def test_unresolved_is_said_seldom(scores):
    """A checker that could not tell anything would pass the two bars above."""
    everything = total(scores)
    assert len(everything.trials["noise"]) <= 0.05 * everything.wrong, "\n" + table(scores)


def test_smooth_functions_cost_two_evaluations_an_element():
    elements = evaluations = 0
    for name in PLAIN:
        for seed in range(16):
            if make(name, seed).right.size >= 100:
                score = play(name, seed, mistakes=0)
                elements, evaluations = elements + score.elements, evaluations + score.evaluations
    assert elements > 1000
    assert evaluations <= 2.2 * elements


# ---- The instrument


@pytest.mark.parametrize("name", FAMILIES)
def test_right_gradients_are_right(name):
    """By complex step, or by extrapolation in long double: without the closed form, and without the checker."""
    sharp = []
    for seed in SEEDS:
        instance = make(name, seed)
        defined = np.nonzero(~instance.kink & (instance.reach > 0))[0]
        rng = generator(name, seed, stream=2)
        defined = rng.permutation(defined)
        defined = defined[np.argsort(instance.right[defined] == 0, kind="stable")]  # zeros last
        for i in [*defined[:4], *defined[-1:]]:
            with np.errstate(all="ignore"):
                value, error = derivative(instance, i)
            tolerance = 1e-7 * abs(instance.right[i]) + 1e-10 * instance.largest + error
            sharp.append(tolerance <= 1e-4 * instance.largest)
            assert abs(value - instance.right[i]) <= tolerance, (name, seed, int(i), value, instance.right[i])
    assert np.mean(sharp) > 0.75  # or the comparison would see no mistake


@pytest.mark.parametrize("name", FAMILIES)
def test_kinks_have_the_slopes_they_are_said_to_have(name):
    """At a kink the one-sided difference quotients lie between low and high, and the right value between them."""
    for seed in SEEDS:
        instance = make(name, seed)
        kinks = np.nonzero(instance.kink)[0]
        rng = generator(name, seed, stream=3)
        for i in rng.choice(kinks, min(5, kinks.size), replace=False):
            slopes = one_sided(instance, i)
            size = max(abs(instance.low[i]), abs(instance.high[i]))
            ordered = [instance.low[i], min(slopes), instance.right[i], max(slopes), instance.high[i]]
            assert (np.diff(ordered) >= -1e-5 * size).all(), (name, seed, int(i), ordered)
            assert max(slopes) - min(slopes) > 1e-3 * size, (name, seed, int(i), ordered)


def one_sided(instance, i):
    """The difference quotients to the right and to the left, in long double."""
    values = flat(instance.x).astype(np.longdouble)
    at, start = instance.smooth(shaped(values, instance.x)), values[i]
    slopes = []
    for step in np.longdouble([1e-10, -1e-10]):
        values[i] = start + step
        slopes.append(float((instance.smooth(shaped(values, instance.x)) - at) / step))
    return slopes


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_checker_is_asked_for_is_within_reach(name):
    """Somebody who knows noise and length finds most elements of what must pass to 1e-3, and knows that they do."""
    for seed in SEEDS:
        instance = make(name, seed)
        (smooth,) = np.nonzero(~instance.kink)
        if not instance.must_pass() or not smooth.size:
            continue
        rng, found = generator(name, seed, stream=5), []
        for i in rng.choice(smooth, min(4, smooth.size), replace=False):
            with np.errstate(all="ignore"):
                value, error = informed_difference(instance, i)
            wanted = max(1e-3 * abs(instance.right[i]), 1e-6 * instance.largest)
            found.append(error <= wanted and abs(value - instance.right[i]) <= max(error, wanted / 1e3))
        assert np.mean(found) >= 0.5, (name, seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_wrong_gradients_are_wrong_and_repeat(name):
    for seed in SEEDS:
        instance = make(name, seed)
        wrongs = wrong_gradients(instance)
        assert wrongs
        assert not instance.material(instance.right).any()
        for (_, wrong), (_, again) in zip(wrongs, wrong_gradients(make(name, seed)), strict=True):
            assert instance.material(wrong).any()
            np.testing.assert_array_equal(wrong, again)


def pretend(verdict, passed):
    """A checker that says the same to everything, without a look."""

    def checker(f, x, gradient):
        f(x)
        parts = gradient if isinstance(gradient, dict) else {"x": gradient}
        words = {name: np.full(np.shape(part), verdict) for name, part in parts.items()}
        return SimpleNamespace(passed=passed, verdict=words)

    return checker


def test_checkers_that_do_not_look_are_seen_through():
    seeds = range(2 if ALL else 1)
    believing = total(tournament(seeds, checker=pretend("ok", True)))
    assert not believing.trials["refused"]
    assert len(believing.missed()) >= 0.95 * believing.wrong  # the others are beyond reach and small
    refusing = total(tournament(seeds, checker=pretend("mismatch", False)))
    assert not refusing.missed()
    assert len(refusing.trials["refused"]) >= 0.95 * refusing.right
    shrugging = total(tournament(seeds, checker=pretend("noise", True)))
    assert len(shrugging.trials["blind"]) == shrugging.wrong
    excusing = total(tournament(seeds, checker=pretend("kink", True)))
    assert len(excusing.trials["kink"]) >= 0.8 * excusing.wrong


def knowing(instance):
    """A checker that knows noise, lengths and kinks of the instance, but has only values of f for the rest."""
    with np.errstate(all="ignore"):
        found = [informed_difference(instance, i) for i in range(instance.right.size)]
    value, error = np.array(found).T

    def checker(f, x, gradient):
        given = flat(gradient)
        wrong = np.abs(given - value) > error + 1e-4 * np.maximum(np.abs(given), np.abs(value))
        largest = np.abs(value[~instance.kink]).max(initial=0)
        resolved = (error <= 3e-4 * np.abs(value)) | (given == value) | (error <= 1e-6 * largest)
        words = np.select([wrong, resolved], ["mismatch", "ok"], "noise")
        words = np.where(instance.kink, np.where(instance.outside(given), "mismatch", "kink"), words)
        words = np.where(instance.free, "jump", words)
        unseen = np.mean(words == "noise") > 0.5
        return SimpleNamespace(passed=not unseen and set(words) <= {"ok", "kink", "noise"}, verdict=named(words, x))

    return checker


def named(words, x):
    """Words by the name of the array, as a report has them."""
    if not isinstance(x, dict):
        return {"x": words}
    return dict(zip(x, np.split(words, np.cumsum([np.size(part) for part in x.values()])[:-1]), strict=True))


def test_the_bars_are_within_reach():
    """No bar asks for more than differences can tell somebody who knows the function's noise and scales."""
    scores = {}
    for name in FAMILIES:
        for seed in range(4 if ALL else 1):
            scores[f"{name} {seed}"] = play(name, seed, knowing(make(name, seed)))
    everything = total(scores)
    assert len(everything.trials["refused"]) <= 0.003 * everything.right, "\n" + table(scores)
    assert len(everything.missed()) <= 0.003 * everything.wrong, "\n" + table(scores)
    assert len(everything.trials["noise"]) <= 0.02 * everything.wrong, "\n" + table(scores)


def test_a_changed_x_and_an_exception_are_seen():
    def careless(f, x, gradient):
        part = next(iter(x.values())) if isinstance(x, dict) else x
        part.flat[0] = np.nextafter(part.flat[0], np.inf)
        return pretend("ok", True)(f, x, gradient)

    for name in ("linear", "dict_of_arrays"):
        assert play(name, 0, careless).trials["broken"]
    report, verdicts, _ = examine(make("linear", 0), make("linear", 0).right, lambda *_: 1 / 0)
    assert isinstance(report, ZeroDivisionError)
    assert verdicts is None


def test_the_stated_noise_is_the_noise():
    """Where f is computed in double precision, its distance from long double is what the instance states, or less."""
    far = []
    for name in FAMILIES:
        ratios = [ratio for seed in SEEDS for ratio in noise_ratios(make(name, seed))]
        if ratios and np.max(ratios) > 4:
            far.append((name, float(np.max(ratios))))
    assert not far


def noise_ratios(instance):
    """Errors of increments of f near x, in units of the stated noise."""
    if instance.by != "long" or instance.free.any() or np.finfo(np.longdouble).eps >= EPS:
        return []

    def error(x):
        with np.errstate(all="ignore"):
            x = flat(shaped(x, instance.x))
            return float(
                instance.f(shaped(x, instance.x)) - instance.smooth(shaped(x.astype(np.longdouble), instance.x))
            )

    rng, ratios = generator(instance.name, instance.seed, stream=4), []
    x = flat(instance.x)
    base = error(x)
    for _ in range(4):
        move = instance.length * rng.uniform(-0.1, 0.1, x.size) / np.sqrt(x.size)
        change = abs(error(x + np.where(instance.kink, 0, move)) - base)
        if np.isfinite(change) and change:
            ratios.append(change / instance.noise if instance.noise else np.inf)
    return ratios
