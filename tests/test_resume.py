"""Checkpoints with a right digest and a wrong content: refused by one sentence and nothing changed, or gone on with."""

import copy
import itertools
import math
import os
import random
import re

import numpy as np
import pytest

from nncore import SGD, AdaGrad, Adam, EarlyStopping, Layer, NeuralNetwork, ReduceOnPlateau
from nncore.files import checkpoints as checkpoint
from nncore.training import resume
from nncore.training import resume_checks as _resume

N, BATCH, TOTAL, HELD = 23, 5, 40, 17  # five updates an epoch; the checkpoint is within the fourth

rng = np.random.default_rng(0)
X = rng.normal(size=(N, 3))
T = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def plain():
    return NeuralNetwork([Layer(3, 4, "tanh", rng=0), Layer(4, 3, rng=1)], loss="softmax_cross_entropy")


def normalised():
    layers = [
        Layer(3, 4, "relu", rng=0, batch_norm=True, dropout=0.2, l2=0.01),
        Layer(4, 3, "tanh", rng=1, max_norm=2.0, batch_norm=True),
        Layer(3, 3, rng=2, lr_scale=0.5),
    ]
    return NeuralNetwork(layers, loss="softmax_cross_entropy", dtype="float32")


def generator(bits):
    return lambda: np.random.Generator(getattr(np.random, bits)(7))


# The kinds of runs: network, optimizer, generator, and what else fit gets.
RUNS = {
    "plain": (plain, lambda: SGD(0.1), generator("PCG64"), {}),
    "all": (
        normalised, Adam, generator("MT19937"),
        {
            "validation_data": (X, T), "metrics": ["accuracy", "train_loss", "top_2"], "clip_norm": 1.0,
            "schedule": ReduceOnPlateau(1, 0.5), "early_stopping": EarlyStopping("loss", patience=50),
        },
    ),
    "stopping": (
        plain, AdaGrad, generator("Philox"), {"early_stopping": EarlyStopping(patience=3, restore_best=False)},
    ),
    "callback": (
        plain, lambda: SGD(0.1, momentum=0.9), generator("SFC64"),
        {"callbacks": [lambda history: None], "schedule": "cosine", "sampling": "replacement"},
    ),
    "sequential": (plain, lambda: SGD(0.1), generator("PCG64DXSM"), {"sampling": "sequential"}),
}  # fmt: skip


class Trial:
    """A network, optimizer and generator that have not been used yet, to resume with."""

    def __init__(self, name):
        net, optimizer, source, self.settings = RUNS[name]
        self.net, self.optimizer, self.rng = net(), optimizer(), source()
        assert self.net.n_params  # laid out

    def fit(self, path, **settings):
        return self.net.fit(
            X, T, optimizer=self.optimizer, rng=self.rng, batch_size=BATCH, iterations=TOTAL, progress=False,
            checkpoint=path, **{**self.settings, **settings},
        )  # fmt: skip

    def state(self):
        """All that a refused resume must leave alone."""
        core = self.net.core
        layers = [layer.settings() for layer in self.net.layers]
        return repr(
            (core.params.tobytes(), core.moments.tobytes(), vars(self.optimizer), layers, self.net.trained_with)
        ) + repr(self.rng.bit_generator.state)


class Stop(BaseException):
    pass


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """By the kind of run: tensors and state of a checkpoint that fit wrote within an epoch, and the run's end."""

    def write(name):
        path, taken = tmp_path_factory.mktemp(name) / "c", []
        real = resume.captured

        def take(run, own):
            tensors, state = real(run, own)
            if run.history.iterations == HELD:
                taken.append(copy.deepcopy(checkpoint._from_bytes("c", checkpoint._to_bytes(tensors, state))))
            return tensors, state

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resume, "captured", take)
            trial = Trial(name)
            trial.fit(path, checkpoint_every=HELD)
        return (*taken[0], trial.net.core.params.copy())

    return {name: write(name) for name in RUNS}


ODD = [
    None, True, False, -1, 0, 1, 3, 10**9, 1 << 63, 1 << 128, 10**400, -0.5, 0.5, 1e300, math.nan, math.inf, -math.inf,
    "", "x", "0.1", [], [1], [[]], {}, {"a": 1},
]  # fmt: skip


def places(value, at=()):
    """Every place of nested lists and dicts; of long lists the first, one within and the last."""
    yield at, value
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*at, name))
    elif isinstance(value, list):
        for i in sorted({0, len(value) // 2, len(value) - 1} & set(range(len(value)))):
            yield from places(value[i], (*at, i))


def variants(value, pick):
    """Other values that could stand in the place of one: anything, and what is nearly the same."""
    yield from pick.sample(ODD, 2)
    if type(value) is int:
        yield from pick.sample((value + 1, value - 1, -value, float(value), value * 1000), 3)
    elif type(value) is float:
        yield from (-value, value * 1e6, str(value))
    elif isinstance(value, bool):
        yield from (int(value), not value)
    elif isinstance(value, str):
        yield from (value + "x", value[:-1])
    elif isinstance(value, list):
        yield from (value[:-1], value * 2, value[::-1], [*value, None], {str(i): one for i, one in enumerate(value)})
    elif isinstance(value, dict):
        yield from ({**value, "more": 1}, list(value))
        for name in value:
            yield {key: one for key, one in value.items() if key != name}


def replaced(state, at, value):
    changed = copy.deepcopy(state)
    *way, last = ("top", *at)
    inside = box = {"top": changed}
    for step in way:
        inside = inside[step]
    inside[last] = value
    return box["top"]


def array_variants(name, array):
    flat = array.reshape(-1)
    yield None
    yield array[..., :-1]
    yield np.concatenate([array, array], axis=-1)
    yield array[np.newaxis]
    yield array.reshape(-1)[:0]
    yield array.astype(np.float32 if array.dtype == np.float64 else np.float64)
    yield array.astype(np.int64)
    for i, value in itertools.product(
        {0, flat.size // 2, flat.size - 1} & set(range(flat.size)), (np.nan, np.inf, -1.0)
    ):
        changed = array.copy()
        changed.reshape(-1)[i] = value
        yield changed


def forged(tensors, state, seed):
    """Checkpoints with one thing changed, and what it is."""
    pick = random.Random(seed)
    for at, value in places(state):
        if at[:1] != ("run",):  # compared as a whole
            for one in variants(value, pick):
                yield f"{at} = {one!r}"[:200], tensors, replaced(state, at, one)
    for name, array in tensors.items():
        for one in array_variants(name, array):
            rest = {key: other for key, other in tensors.items() if key != name}
            yield f"{name} = {one!r}"[:200], {**rest, **({} if one is None else {name: one})}, state
    yield "another tensor", {**tensors, "more": np.ones(2)}, state


def outcome(trial, path):
    """The error's sentence, if it is one that says something about the input, or the history."""
    try:
        return "", trial.fit(path, checkpoint_every=10**6, resume=True)
    except (
        ValueError,
        FloatingPointError,
    ) as error:  # the latter of parameters or moments that are huge, though finite
        return str(error), None


@pytest.mark.parametrize("name", RUNS)
def test_one_thing_changed(tmp_path, written, name, monkeypatch):
    """Each is refused, by one sentence with the file's name and nothing changed, or the run goes on to its end."""
    monkeypatch.setattr(os, "fsync", os.fstat)  # the machine stays on
    tensors, state, _ = written[name]
    path, trial, counts = tmp_path / "c", Trial(name), {True: 0, False: 0}
    before = trial.state()
    for what, arrays, numbers in forged(tensors, state, name):
        data = checkpoint._to_bytes(arrays, numbers)
        path.write_bytes(data)
        said, history = outcome(trial, path)
        if history is None and "try a smaller learning rate" not in said:
            assert re.fullmatch(rf"{path} (has|is of another run) [^\n]*, expected [^\n]+", said), (what, said)
            assert trial.state() == before, what
            assert path.read_bytes() == data
            counts[False] += 1
        else:
            if history is not None:
                stopped = trial.settings.get("early_stopping") is not None and history.iterations % BATCH == 0
                assert history.iterations == TOTAL or stopped, what
                assert np.isfinite(trial.net.core.params).all(), what
                assert history.epoch_ends == sorted(history.epoch_ends)
                assert all(len(column) == len(history.epoch_ends) for column in history.epoch_columns().values()), what
                counts[True] += 1
            trial = Trial(name)
            (tmp_path / "c.previous").unlink(missing_ok=True)
        assert os.listdir(tmp_path) == ["c"], what
    assert counts[False] > counts[True] > 0


@pytest.mark.parametrize("name", RUNS)
def test_what_fit_wrote_goes_on_to_the_same_bits(tmp_path, written, name):
    tensors, state, end = written[name]
    (tmp_path / "c").write_bytes(checkpoint._to_bytes(tensors, state))
    trial = Trial(name)
    trial.fit(tmp_path / "c", resume=True)
    np.testing.assert_array_equal(trial.net.core.params, end)


def refused(tmp_path, name, tensors, state):
    (tmp_path / "c").write_bytes(checkpoint._to_bytes(tensors, state))
    trial = Trial(name)
    before = trial.state()
    with pytest.raises(ValueError, match=f"{tmp_path / 'c'} has ") as caught:
        trial.fit(tmp_path / "c", resume=True)
    assert trial.state() == before
    return str(caught.value)


# What a field must be, and which sentence says so.
SENTENCES = {
    "an endless loop": ("plain", ("epoch", "begin"), -(10**15), "epoch's begin -1000000000000000, expected a whole"),
    "within an epoch": (
        "plain",
        ("epoch", "begin"),
        3,
        "epochs from iteration 3 to 17, expected a begin at a multiple",
    ),
    "beyond the plan": (
        "plain",
        ("epoch", "begin"),
        TOTAL,
        f"epoch's begin {TOTAL}, expected a whole number from 0 to",
    ),
    "no generator": ("plain", ("epoch", "rng"), {}, "the generator's state {}, expected one of PCG64"),
    "another one": ("plain", ("epoch", "rng", "bit_generator"), "MT19937", "the generator's state .*one of PCG64"),
    "one number for ever": ("plain", ("epoch", "rng", "state", "inc"), 2, "the generator's state .*PCG64 can have"),
    "outside its memory": ("all", ("epoch", "rng", "state", "pos"), 10**6, "the generator's state .*MT19937 can have"),
    "outside again": ("stopping", ("epoch", "rng", "buffer_pos"), 5, "the generator's state .*Philox can have"),
    "zeros only": ("all", ("epoch", "rng", "state", "key"), [0] * 624, "the generator's state .*MT19937 can have"),
    "too large": ("all", ("epoch", "rng", "state", "key"), [1 << 32] * 624, "the generator's state .*MT19937 can have"),
    "lr": ("plain", ("optimizer", "lr"), -0.1, "lr is -0.1, expected a finite number above 0"),
    "huge": ("plain", ("optimizer", "lr"), 10**400, r"expected|int too large"),
    "text": ("plain", ("optimizer", "lr"), "0.1", "the optimizer's lr '0.1', expected numbers"),
    "momentum": ("callback", ("optimizer", "momentum"), 1.5, "momentum is 1.5, expected a number from 0 to below 1"),
    "betas": (
        "all",
        ("optimizer", "betas"),
        [0.9, math.nan],
        r"betas\[1\] is nan, expected a number from 0 to below 1",
    ),
    "dropout": ("plain", ("layers", 1, "dropout"), 0.5, "layer 2's dropout 0.5, expected 0 of the last layer"),
    "l2": ("all", ("layers", 0, "l2"), math.nan, "layer 1's l2 is nan, expected a finite number of 0 or more"),
    "steps": ("plain", ("n_steps",), 3, "n_steps 3, expected a whole number from 17"),
    "ends": ("all", ("history", "epoch_ends"), [5, 10, 16], r"epoch_ends \[5, 10, 16\], expected the ends of epochs"),
    "ends missing": ("all", ("history", "epoch_ends"), [5, 10], r"(epoch_ends|test_\w+|train_\w+) .*, expected"),
    "column": ("all", ("history", "test_accuracy"), [0.5], r"test_accuracy \[0.5\], expected 3 numbers"),
    "metrics": ("all", ("history", "metrics"), {}, "metrics {}, expected test_top_2 by name"),
    "best": ("all", ("early_stopping",), [math.nan, 1], "the best metric nan, expected a number"),
    "waited": ("all", ("early_stopping", 1), 99, "epochs since the best 99, expected a whole number from 0 to 3"),
    "plateau": ("all", ("schedule", 0), 2.0, "schedule's factor 2.0, expected a number from 0 to 1"),
    "seconds": ("plain", ("history", "seconds"), -1.0, "seconds -1.0, expected a number of seconds"),
    "no state": ("plain", (), [], "has no readable state, expected what fit writes"),
    "no run": ("plain", ("run",), [], "has no run, expected what fit writes"),
}


@pytest.mark.parametrize("what", SENTENCES)
def test_the_sentence(tmp_path, written, what):
    name, at, value, message = SENTENCES[what]
    tensors, state, _ = written[name]
    assert re.search(message, refused(tmp_path, name, tensors, replaced(state, at, value)))


@pytest.mark.parametrize(
    ("name", "tensor", "value", "message"),
    [
        ("plain", "params", np.nan, r"params\[0\] is nan, expected finite"),
        ("all", "moments", -1.0, "moments with the variance -1.0 in layer 2, expected 0 or more"),
        ("all", "best_moments", np.inf, "best_moments.* is inf, expected finite"),
        ("all", "best_params", None, "no best_params, expected what fit writes"),
        ("all", "optimizer", np.nan, "optimizer.*, expected"),
        ("stopping", "optimizer", -1.0, r"optimizer\[0\] with numbers that are not 0 or more, expected squares"),
        ("callback", "lr", -1.0, "lr from -1.0 on, expected 0 or more"),
    ],
)
def test_the_sentence_of_an_array(tmp_path, written, name, tensor, value, message):
    tensors, state, _ = written[name]
    tensors = copy.deepcopy(tensors)
    if value is None:
        del tensors[tensor]
    elif value == -1.0 and tensor == "moments":
        net = normalised()
        net.layers[1].running_var[1] = -1.0  # before they are laid out
        tensors["moments"] = net.core.moments
    else:
        tensors[tensor].reshape(-1)[0 if tensor == "params" else -1] = value
    assert re.search(message, refused(tmp_path, name, tensors, state))


def test_callbacks_may_be_others_when_a_run_goes_on(tmp_path, written):
    """They are no part of what is compared: records may begin or end where a run was interrupted."""
    tensors, state, end = written["plain"]
    (tmp_path / "c").write_bytes(checkpoint._to_bytes(tensors, state))
    trial = Trial("plain")
    trial.settings = {"callbacks": [lambda history: None]}
    assert trial.fit(tmp_path / "c", resume=True, checkpoint_every=3).epoch_ends == [20, 25, 30, 35, 40]
    np.testing.assert_array_equal(trial.net.core.params, end)
    trial = Trial("plain")
    trial.settings = {}
    assert trial.fit(tmp_path / "c", resume=True).epoch_ends == [20, 25, 30, 35, 40]
    np.testing.assert_array_equal(trial.net.core.params, end)


def test_what_a_callback_may_set_can_be_read_again(tmp_path):
    """NumPy's numbers, and a learning rate that is next to nothing."""
    trial, path = Trial("plain"), tmp_path / "c"

    def rest(history):
        trial.optimizer.lr = np.float64(1e-300) if history.iterations < 20 else np.float32(0.5)

    trial.fit(path, checkpoint_every=HELD, callbacks=[rest])
    again = Trial("plain")
    again.fit(path, resume=True, callbacks=[rest])
    assert again.optimizer.lr == 0.5
    path.unlink()
    (tmp_path / "c.previous").rename(path)
    trial = Trial("plain")
    trial.fit(path, resume=True, callbacks=[rest])
    np.testing.assert_array_equal(trial.net.core.params, again.net.core.params)


def test_every_part_of_a_state_is_checked():
    """The checks know all that captured notes: a new part needs a check."""
    assert set(_resume.Resumed._fields) == {"tensors", *_resume.STATE} - {"run"}
