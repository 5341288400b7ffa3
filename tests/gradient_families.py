"""A tournament of gradients: families of functions with right and wrong ones, and how a gradient check does on them.

    python tests/gradient_families.py                      the table, 16 instances a family
    python tests/gradient_families.py --seeds 4            fewer
    python tests/gradient_families.py --family hinges --seed 3     one instance, with the reports of its gradients

How families work: each is a function of a random generator (families_*.py, registered by ``@family``) that returns an
Instance: a function, a point, the right gradient in closed form, and what is known by construction about the noise of
the function, the distance over which it is smooth, and its slopes beside kinks (gradient_instances.py). All random
numbers come from the family's name and a seed, so that ``make("hinges", 3)`` is the same trial everywhere. The right
gradients are verified without their closed form, by complex steps or extrapolation in long double, in
test_tournament.py. Every instance comes with two wrong gradients: a plausible mistake on one, some or all elements.

How scoring works. Of a right gradient:

- *refused*: the check failed, though an ordinary extrapolated difference resolves three quarters of the elements to
  1e-4 with a margin; or an element is called ``mismatch``, which claims more than not being able to tell;
- *may be refused*: the check failed where most elements are beyond reach, or a jump lies exactly at x. Not a fault.

Of a wrong gradient, by its materially wrong elements (relative error of 1e-3 or more):

- *ok*: one is called ``ok``. A miss, also where the check fails for other elements, and also where no difference
  could resolve the element: then ``noise`` is the honest verdict;
- *kink*: one is called ``kink`` with a value outside the slopes of the two sides, or at a jump. A miss;
- *blind*: the check passes though most of its elements are ``noise`` or ``unchecked``. A miss;
- *between*: a wrong value beside (not at) a kink is called ``kink`` and lies between the slopes. Counted apart;
- *noise*: one within reach is called ``noise``. Unresolved, counted apart. *beyond*: one out of reach is. Right;
- *small*: ``ok`` where the error is both nearly out of reach and below a millionth of the largest element. Apart;
- *passed*: the check passes in spite of a materially wrong element within reach, for any of these reasons.

Every other verdict (``mismatch``, ``nonfinite``, one for jumps or for random functions) on a wrong element counts as
caught. ``--first 1000`` plays seeds that nothing was tuned on.

The checker is any function (f, x, gradient) -> report with ``passed`` and ``verdict`` (words by parameter), so that the
scoring itself can be tested. x must be the same to the last bit afterwards; where it is not, or where the checker
raises, the trial is listed and a right gradient counts as refused.
"""

import argparse
import time
import warnings
from dataclasses import dataclass, field

import families_algebra
import families_domains
import families_networks
import families_noise
import families_programs
import families_rough
import families_scales
import families_shapes
import numpy as np
from gradient_instances import FAMILIES, Instance, flat, make, shaped, wrong_gradients

__all__ = ["FAMILIES", "PLAIN", "Score", "make", "play", "tournament"]
MODULES = (  # importing them registers their families
    *(families_algebra, families_networks, families_noise, families_scales),
    *(families_domains, families_rough, families_programs, families_shapes),
)

# Smooth, of ordinary scale: two evaluations an element should do.
PLAIN = (
    *("quadratic_form", "rosenbrock", "cross_entropy", "attention", "smooth_network", "layer_norm", "convolution"),
    *("cosine_similarity", "linear", "power_spectrum", "sparse_gradient", "even_at_zero"),
)
COLUMNS = ("refused", "may", "ok", "kink", "blind", "between", "noise", "beyond", "small", "passed", "broken")
MISSES = ("ok", "kink", "blind")


@dataclass
class Score:
    """The outcomes of the trials of one family or of all: how many of each kind, and which."""

    right: int = 0
    wrong: int = 0
    elements: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    trials: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(self, other: "Score") -> None:
        for name in ("right", "wrong", "elements", "evaluations", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, trials in other.trials.items():
            self.trials[name] += trials

    def missed(self) -> list[str]:
        """The trials in which a wrong gradient was let through."""
        return sorted({trial for name in MISSES for trial in self.trials[name]})

    def row(self, name: str) -> str:
        counts = "".join(f"{len(self.trials[column]):9d}" for column in COLUMNS)
        cost = self.evaluations / max(1, self.elements)
        return f"{name:24s}{self.right:6d}{counts}{self.wrong:7d}{cost:8.2f}{self.seconds:8.2f}"


def default_checker(f, x, gradient):
    """nncore's, as users call it."""
    from nncore import check_gradient

    return check_gradient(f, x, grad=gradient)


def examine(instance: Instance, gradient: np.ndarray, checker):
    """Check one gradient; returns the report (or the exception), its verdicts, and the number of evaluations."""
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return instance.f(x)

    x, before = instance.x, _bits(instance.x)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = checker(counted, x, shaped(gradient, x))
        except Exception as error:
            return error, None, calls
    if _bits(x) != before:
        return RuntimeError("x was changed"), None, calls
    names = list(report.verdict) if not isinstance(x, dict) else list(x)
    return report, np.concatenate([np.ravel(report.verdict[name]) for name in names]), calls


def _bits(x) -> bytes:
    parts = x.values() if isinstance(x, dict) else [x]
    return b"".join(np.asarray(part).tobytes() for part in parts)


def judge_right(instance: Instance, report, verdicts) -> set[str]:
    """The columns that a trial with the right gradient counts in."""
    if verdicts is None:
        return {"broken", "refused"}
    if report.passed:
        return set()
    false_alarm = bool(((verdicts == "mismatch") & ~instance.free).any())
    return {"refused"} if instance.must_pass() or false_alarm else {"may"}


def judge_wrong(instance: Instance, wrong: np.ndarray, report, verdicts) -> set[str]:
    """The columns that a trial with a wrong gradient counts in."""
    if verdicts is None:
        return {"broken"}
    material, hidden = instance.material(wrong), instance.unresolvable(wrong)
    small = instance.negligible(wrong)
    ok, kink = (material & (verdicts == word) for word in ("ok", "kink"))
    noise = material & np.isin(verdicts, ("noise", "unchecked"))
    outside = instance.outside(wrong)
    found = {
        "ok": ok & ~small,
        "small": ok & small,
        "kink": kink & outside,
        "between": kink & ~outside,
        "noise": noise & ~hidden,
        "beyond": noise & hidden,
    }
    columns = {name for name, where in found.items() if where.any()}
    if report.passed and np.mean(np.isin(verdicts, ("noise", "unchecked"))) > 0.5:
        columns.add("blind")
    if report.passed and (material & ~hidden).any():
        columns.add("passed")
    return columns


def play(name: str, seed: int, checker=default_checker, mistakes: int = 2) -> Score:
    """All trials of one instance: its right gradient, and wrong ones."""
    score, start = Score(), time.perf_counter()
    instance = make(name, seed)
    # A function with random numbers has a state: every trial starts with a new one.
    gradients = [("right", instance.right), *wrong_gradients(instance, mistakes)]
    for mistake, gradient in gradients:
        report, verdicts, calls = examine(make(name, seed), gradient, checker)
        if mistake == "right":
            score.right += 1
            score.elements += gradient.size
            score.evaluations += calls
            columns = judge_right(instance, report, verdicts)
        else:
            score.wrong += 1
            columns = judge_wrong(instance, gradient, report, verdicts)
        for column in columns:
            score.trials[column].append(f"{name} {seed} {mistake}")
    score.seconds = time.perf_counter() - start
    return score


def tournament(seeds=range(16), names=None, checker=default_checker) -> dict[str, Score]:
    """The scores of all families, by name."""
    scores = {}
    for name in names or FAMILIES:
        scores[name] = Score()
        for seed in seeds:
            scores[name].add(play(name, seed, checker))
    return scores


def total(scores: dict[str, Score]) -> Score:
    everything = Score()
    for score in scores.values():
        everything.add(score)
    return everything


def table(scores: dict[str, Score], listed: int = 6) -> str:
    """The table, and below it the trials of every fault by family and seed."""
    head = f"{'family':24s}{'right':>6s}" + "".join(f"{name:>9s}" for name in COLUMNS)
    lines = [head + f"{'wrong':>7s}{'f/elem':>8s}{'seconds':>8s}"]
    lines += [score.row(name) for name, score in scores.items()]
    everything = total(scores)
    lines.append(everything.row("all"))
    missed = len(everything.missed())
    lines.append(
        f"right ones refused: {len(everything.trials['refused'])} of {everything.right}, "
        f"wrong ones missed (ok, kink, blind): {missed} of {everything.wrong}"
    )
    for column in ("refused", *MISSES, "passed", "broken"):
        for name, score in scores.items():
            trials = [trial.removeprefix(name + " ") for trial in score.trials[column]]
            if trials:
                more = f", {len(trials) - listed} more" if len(trials) > listed else ""
                lines.append(f"{column:8s} {name}: {', '.join(trials[:listed])}{more}")
    return "\n".join(lines)


def show(name: str, seed: int, checker=default_checker) -> str:
    """One instance alone: what is known of it, and for each of its gradients what was found."""
    instance = make(name, seed)
    lines = [f"{name} {seed}: {instance.right.size} elements, noise {instance.noise:.2g}, f {instance.f(instance.x)!r}"]
    lines.append(f"must pass: {instance.must_pass()}")
    for mistake, gradient in [("right", instance.right), *wrong_gradients(instance)]:
        report, verdicts, calls = examine(make(name, seed), gradient, checker)
        lines.append(f"---- {mistake}: {calls} evaluations")
        if verdicts is None:
            lines.append(f"{type(report).__name__}: {report}")
            continue
        right = mistake == "right"
        judged = judge_right(instance, report, verdicts) if right else judge_wrong(instance, gradient, report, verdicts)
        lines.append(f"passed {report.passed}, counted as {sorted(judged) or 'fine'}")
        bad = verdicts != "ok" if right else instance.material(gradient)
        numerical = np.concatenate([np.ravel(part) for part in report.numerical.values()])
        x = flat(instance.x)
        for i in np.nonzero(bad)[0][:12]:
            lines.append(
                f"  [{i}] x {x[i]:.9g} given {gradient[i]:.9g} right {instance.right[i]:.9g} "
                f"slopes {instance.low[i]:.5g}..{instance.high[i]:.5g} numerical {numerical[i]:.9g} "
                f"length {instance.length[i]:.2g} reachable {instance.floor()[i]:.2g} {verdicts[i]}"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="How the gradient check does on families of functions.")
    parser.add_argument("--seeds", type=int, default=16, help="instances of a family (16)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES), help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="with --family: this instance alone, in detail")
    parser.add_argument("--listed", type=int, default=6, help="trials listed for every family and fault (6)")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        for name in chosen.family or FAMILIES:
            print(show(name, chosen.seed))
        return
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    print(table(tournament(seeds, chosen.family), chosen.listed))


if __name__ == "__main__":
    main()
