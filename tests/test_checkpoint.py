"""A run that was interrupted, or killed, goes on to the same bits; what is damaged or of another run is refused."""

import contextlib
import itertools
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import nncore
from nncore import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Cosine,
    EarlyStopping,
    Layer,
    NeuralNetwork,
    ReduceOnPlateau,
    RMSprop,
    WarmUp,
)
from nncore.files import checkpoints as checkpoint
from nncore.training import fingerprint, progress
from nncore.training import run as training

N, TOTAL, BATCH = 53, 150, 5  # 11 updates an epoch, the last of three samples; the run ends within an epoch


@pytest.fixture
def data(rng):
    x = rng.normal(size=(N, 4))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def classifier(dtype=np.float64, rng=0, **layer):
    layers = [Layer(4, 6, "tanh", **layer), Layer(6, 3)]
    return NeuralNetwork(layers, loss="softmax_cross_entropy", rng=rng, dtype=dtype)


def fit(net, data, **settings):
    return net.fit(*data, **{"batch_size": BATCH, "iterations": TOTAL, "progress": False, "rng": 1, **settings})


def outcome(net, history):
    """All that two runs must share, to the bit."""
    rates = [] if history.lr is None else history.lr
    columns = itertools.chain(*history.epoch_columns().values())
    state = net.trained_with[1]
    return np.concatenate(
        [
            net.core.params,
            net.core.moments,
            history.loss,
            rates,
            history.epoch_ends,
            [history.epochs, history.iterations],
            list(columns),
            state.vectors.ravel(),
            [state.n_steps],
        ]
    )


class Killed(BaseException):
    """An error that no part of the library catches, as if the process were gone."""


@pytest.fixture
def ends(monkeypatch):
    """ends(step, error) lets the next run raise error once so many more steps are done."""
    steps = SimpleNamespace(left=None, error=None)

    def update(bar, n):
        if steps.left is not None and n == 1:
            steps.left -= n
            if steps.left <= 0:
                steps.left = None
                raise steps.error

    def arm(step, error):
        steps.left, steps.error = step, error

    monkeypatch.setattr(progress.NoBar, "update", update)
    monkeypatch.setattr(training, "CHUNK_SECONDS", 0.0)  # chunks of one step
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the machine stays on
    return arm


def momentum():
    return SGD(0.05, momentum=0.9)


OPTIMIZERS = [SGD, momentum, AdaGrad, RMSprop, Adam, AdamW]
SETTINGS = {
    "plain": {},
    "dropout": {"dropout": 0.3, "l2": 0.01, "max_norm": 1.0, "clip_norm": 0.5},
    "batch norm": {"batch_norm": True, "early_stopping": EarlyStopping("loss", 99), "validation_data": True},
    "sequential": {"sampling": "sequential"},
    "replacement": {"sampling": "replacement"},
    "schedule": {"schedule": WarmUp(20, Cosine(0.1))},
    "plateau": {"schedule": ReduceOnPlateau(1, 0.5), "validation_data": True},
    "stopping": {"early_stopping": EarlyStopping("loss", 3, restore_best=False), "validation_data": True},
    "best": {"early_stopping": EarlyStopping(patience=100), "validation_data": True, "metrics": ["auc", "train_loss"]},
    "weights": {"class_weight": "balanced", "callbacks": [lambda history: None]},
}


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_interrupted_and_killed_runs_go_on_to_the_same_bits(data, tmp_path, ends, monkeypatch, name, optimizer):
    """Ctrl-C and kills at random steps, each time a new network with other weights and another generator."""
    rng = np.random.default_rng([OPTIMIZERS.index(optimizer), list(SETTINGS).index(name)])
    settings, dtype = dict(SETTINGS[name]), rng.choice(["float32", "float64"])
    layer = {key: settings.pop(key) for key in ("dropout", "l2", "max_norm", "batch_norm") if key in settings}
    if settings.get("validation_data"):
        settings["validation_data"] = data
    whole = classifier(dtype, **layer)
    with monkeypatch.context() as patch:
        patch.setattr(training, "CHUNK_SECONDS", 1e9)
        expected = outcome(whole, fit(whole, data, optimizer=optimizer(), **settings))
    settings |= {"checkpoint": tmp_path / "run.ckpt", "checkpoint_every": int(rng.integers(1, 30)), "resume": True}
    for interruption in range(4):
        if interruption < 3:
            ends(rng.integers(1, 60), KeyboardInterrupt if rng.random() < 0.5 else Killed)
        seed = interruption if settings["checkpoint"].exists() else 0
        net = classifier(dtype, seed, **layer)
        with contextlib.suppress(Killed):
            history = fit(net, data, optimizer=optimizer(), rng=np.random.default_rng(1 + seed), **settings)
        ends(None, None)
        fit(classifier(rng=99), data, iterations=7, callbacks=[lambda history: None])
    np.testing.assert_array_equal(outcome(net, history), expected)
    assert not history.interrupted


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
def test_python_functions_go_on_too(data, tmp_path, ends):
    def squares(y, t):
        return 0.5 * np.mean((y - t) ** 2), (y - t) / y.size

    def net():
        arctan = Layer(4, 6, (np.arctan, lambda a: 1 / (1 + a**2)), dropout=0.3)
        return NeuralNetwork([arctan, Layer(6, 3)], loss=squares, rng=0)

    settings = {"optimizer": Adam(0.01), "schedule": "cosine", "clip_norm": 0.1}
    whole, resumed = net(), net()
    expected = outcome(whole, fit(whole, data, **settings))
    for step in (20, 45):
        ends(step, KeyboardInterrupt)
        fit(net(), data, checkpoint=tmp_path / "c", resume=True, **settings)
    history = fit(resumed, data, checkpoint=tmp_path / "c", resume=True, **settings)
    np.testing.assert_array_equal(outcome(resumed, history), expected)


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
def test_a_file_larger_than_memory_goes_on_within_a_window(tmp_path, rng, ends, monkeypatch):
    monkeypatch.setattr(nncore.core.mapped, "WINDOW_BYTES", 20 * 4 * 8)  # of 20 samples
    np.save(tmp_path / "x.npy", rng.normal(size=(N, 4)))
    data = np.load(tmp_path / "x.npy", mmap_mode="r"), rng.integers(3, size=N)
    whole = classifier()
    expected = outcome(whole, fit(whole, data))
    for step in (1, 4, 5, 11, 30):
        ends(step, KeyboardInterrupt)
        fit(classifier(), data, checkpoint=tmp_path / "c", resume=True)
    ends(None, None)
    net = classifier()
    np.testing.assert_array_equal(outcome(net, fit(net, data, checkpoint=tmp_path / "c", resume=True)), expected)


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_generator_of_numpy(data, tmp_path, ends, bits):
    def generator():
        return np.random.Generator(getattr(np.random, bits)(3))

    whole, net = classifier(), classifier()
    expected = outcome(whole, fit(whole, data, rng=generator()))
    ends(40, KeyboardInterrupt)
    fit(classifier(), data, rng=generator(), checkpoint=tmp_path / "c")
    history = fit(net, data, rng=generator(), checkpoint=tmp_path / "c", resume=True)
    np.testing.assert_array_equal(outcome(net, history), expected)


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
def test_what_a_callback_has_set_is_kept(data, tmp_path, ends):
    def run(net, optimizer, **settings):
        def change(history):
            optimizer.lr *= 0.5
            net.layers[0].dropout *= 0.9

        return fit(net, data, optimizer=optimizer, callbacks=[change], **settings)

    whole, net = classifier(dropout=0.5), classifier(dropout=0.5)
    expected = outcome(whole, run(whole, Adam(0.1)))
    ends(40, KeyboardInterrupt)
    run(classifier(dropout=0.5), Adam(0.1), checkpoint=tmp_path / "c")
    ends(None, None)
    np.testing.assert_array_equal(outcome(net, run(net, Adam(0.1), checkpoint=tmp_path / "c", resume=True)), expected)


@pytest.mark.filterwarnings("ignore::nncore.InterruptWarning")
def test_ctrl_c_during_the_evaluation_or_in_a_callback(data, tmp_path):
    """The epoch is then recorded once, in whichever run."""
    presses = iter([False, True, False, False, True, True] + [False] * 99)

    def press(*ignored):
        if next(presses):
            raise KeyboardInterrupt
        return 0.0

    settings = {"validation_data": data, "metrics": ["accuracy", press], "checkpoint": tmp_path / "c", "resume": True}
    whole = classifier()
    expected = fit(whole, data, validation_data=data, metrics=["accuracy"])
    interrupted = [fit(classifier(), data, callbacks=[press], **settings).interrupted for _ in range(4)]
    assert interrupted == [True, True, True, False]
    net = classifier()
    history = fit(net, data, callbacks=[press], **settings)
    assert history.epoch_ends == expected.epoch_ends
    assert history.test_accuracy == expected.test_accuracy
    np.testing.assert_array_equal(net.core.params, whole.core.params)


def test_kill_9(tmp_path):
    """A process that is killed while it trains and writes: another goes on, and clears what was left."""
    script = tmp_path / "train.py"
    script.write_text("""
import sys
import numpy as np
from nncore import Adam, Layer, NeuralNetwork
rng = np.random.default_rng(0)
x = rng.normal(size=(2000, 8))
net = NeuralNetwork([Layer(8, 8, "tanh"), Layer(8, 2)], loss="softmax_cross_entropy", rng=0)
settings = {"checkpoint": sys.argv[1], "checkpoint_every": 200, "resume": True} if sys.argv[1] else {}
said = []
def say(history):
    if not said and history.iterations < 7000:
        said.append(print("under way", flush=True))
h = net.fit(x, (x[:, 0] > 0).astype(int), optimizer=Adam(), batch_size=2, epochs=8, callbacks=[say], rng=0,
            progress=False, **settings)
np.save(sys.argv[2], np.append(net.core.params, h.loss))
""")

    def result(path):
        subprocess.run([sys.executable, script, path, tmp_path / "out.npy"], stdout=subprocess.DEVNULL, check=True)
        return np.load(tmp_path / "out.npy")

    path = tmp_path / "run.ckpt"
    expected = result("")
    command = [sys.executable, script, path, tmp_path / "none.npy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "under way\n"
        process.kill()
    left = tmp_path / ".run.ckpt.abcdefgh.tmp"
    others = [tmp_path / ".run.ckpt.tmp", tmp_path / ".other.ckpt.abcdefgh.tmp", tmp_path / "run.ckpt.abcdefgh.tmp"]
    for file in (left, *others):
        file.write_bytes(b"x")
    state = checkpoint._from_bytes(path, path.read_bytes())[1]
    assert 0 < state["n_steps"] < 8000
    np.testing.assert_array_equal(result(path), expected)
    assert not left.exists()
    assert all(file.exists() for file in others)


def written(data, path, times=1, **settings):
    """A checkpoint at path, and with times 2 the one before."""
    net = classifier()
    fit(net, data, iterations=8, checkpoint=path, checkpoint_every=8 if times == 1 else 4, **settings)
    return net


def resumed(data, path, net=None, **settings):
    return fit(net or classifier(), data, **{"iterations": 8, "checkpoint": path, "resume": True, **settings})


def test_every_changed_byte_is_noticed(data, tmp_path):
    path = tmp_path / "c"
    written(data, path)
    (tmp_path / "c.previous").unlink(missing_ok=True)
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        with pytest.raises(ValueError, match=r"was changed after|not a complete safetensors file|is not a checkpoint"):
            checkpoint._from_bytes(path, bytes(damaged))
    for length in range(0, len(whole), 7):
        with pytest.raises(ValueError, match="not a complete safetensors file"):
            checkpoint._from_bytes(path, whole[:length])
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"c is not a complete safetensors file.*, and there is no previous one"):
        resumed(data, path)


def refuse(*arguments):
    raise PermissionError


def test_the_previous_one_is_used_when_the_last_is_damaged(data, tmp_path, monkeypatch):
    path, previous = tmp_path / "c", tmp_path / "c.previous"
    whole = written(data, path, times=2)
    before = previous.read_bytes()
    for damage in (lambda: path.write_bytes(path.read_bytes()[:100]), path.unlink):
        damage()
        net = classifier()
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.atomic, "write_atomically", refuse)
            with (
                pytest.warns(
                    UserWarning, match=r"c is not (a complete safetensors file|there).*: going on from .*c\.previous"
                ) as seen,
                pytest.raises(PermissionError),
            ):
                resumed(data, path, net)
        assert seen[0].filename == __file__
        np.testing.assert_array_equal(net.core.params, whole.core.params)
        assert previous.read_bytes() == before  # the damaged one has not taken its place
    path.write_bytes(b"")
    previous.write_bytes(b"")
    with pytest.raises(ValueError, match="there is no previous one"):
        resumed(data, path)


def test_a_new_run_leaves_nothing_of_the_one_before(data, tmp_path):
    written(data, tmp_path / "c", times=2)
    assert sorted(os.listdir(tmp_path)) == ["c", "c.previous"]
    written(data, tmp_path / "c")
    assert os.listdir(tmp_path) == ["c"]


def test_without_a_checkpoint_a_run_begins_and_a_finished_one_stays_as_it_is(data, tmp_path):
    whole, first, again = classifier(), classifier(), classifier(rng=3)
    expected = outcome(whole, fit(whole, data))
    history = fit(first, data, checkpoint=tmp_path / "c", resume=True)
    np.testing.assert_array_equal(outcome(first, history), expected)
    history = fit(again, data, checkpoint=tmp_path / "c", resume=True)
    np.testing.assert_array_equal(outcome(again, history), expected)


def test_the_best_parameters_are_restored_after_a_resume(data, tmp_path, ends):
    settings = {"validation_data": data, "early_stopping": EarlyStopping("loss", 2), "optimizer": SGD(1.5)}
    whole, net = classifier(), classifier()
    expected = fit(whole, data, **settings)
    assert expected.iterations < TOTAL
    ends(expected.iterations - 3, Killed)
    with pytest.raises(Killed):
        fit(classifier(), data, checkpoint=tmp_path / "c", checkpoint_every=1, **settings)
    ends(None, None)
    for _ in range(2):  # from within, and from the end
        history = fit(net, data, checkpoint=tmp_path / "c", resume=True, **settings)
        np.testing.assert_array_equal(net.core.params, whole.core.params)
        assert (history.test_loss, history.best_epoch) == (expected.test_loss, expected.best_epoch)


def other_rows(data):
    x = data[0].copy()
    x[50, 3] += 1e-9
    return x, data[1]


OTHER = {
    "one number of X": (
        lambda d: (other_rows(d), {}),
        r"X is float64 \(53, 4\) with CRC \w+, the checkpoint's float64",
    ),
    "fewer rows": (lambda d: ((d[0][:50], d[1][:50]), {}), r"X is float64 \(50, 4\) with CRC"),
    "labels": (lambda d: ((d[0], (d[1] + 1) % 3), {}), r"y is int64 \(53,\) with CRC \w+, the checkpoint's int64"),
    "sample_weight": (
        lambda d: (d, {"sample_weight": d[1] + 1}),
        r"sample_weight with class_weight is float64 .*, the checkpoint's None",
    ),
    "validation": (lambda d: (d, {"validation_data": d}), r"validation X is float64 .*, the checkpoint's None"),
    "batch_size": (lambda d: (d, {"batch_size": 6}), "batch_size is 6, the checkpoint's 5"),
    "iterations": (lambda d: (d, {"iterations": 9}), "iterations is 9, the checkpoint's 8"),
    "sampling": (lambda d: (d, {"sampling": "sequential"}), "sampling is sequential, the checkpoint's shuffle"),
    "lr": (lambda d: (d, {"optimizer": SGD(0.5)}), r"optimizer is SGD\(lr=0.5, .*, the checkpoint's SGD\(lr=0.01,"),
    "optimizer": (lambda d: (d, {"optimizer": Adam()}), r"optimizer is Adam\("),
    "early_stopping": (lambda d: (d, {"early_stopping": 3}), r"early_stopping is EarlyStopping\(.*'s None"),
    "rng": (
        lambda d: (d, {"rng": np.random.Generator(np.random.MT19937(1))}),
        "rng is MT19937, the checkpoint's PCG64",
    ),
    "seed": (lambda d: (d, {"rng": 7}), "rng's seed is 7, the checkpoint's 1"),
    "activation": (
        lambda d: (d, {"net": NeuralNetwork([Layer(4, 6), Layer(6, 3)], loss="softmax_cross_entropy")}),
        "layer 1's activation is identity, the checkpoint's tanh",
    ),
    "size": (
        lambda d: (d, {"net": NeuralNetwork([Layer(4, 5, "tanh"), Layer(5, 3)], loss="softmax_cross_entropy")}),
        "layer 1's n_neurons is 5, the checkpoint's 6; layer 2's n_input is 5, the checkpoint's 6",
    ),
    "dtype": (lambda d: (d, {"net": classifier("float32")}), "dtype is float32, the checkpoint's float64"),
    "everything": (
        lambda d: (d, {"net": NeuralNetwork([Layer(4, 3)], rng=0)}),
        r"layer 1's n_neurons is 3, the checkpoint's 6; .*\(and \d+ more differences\)",
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_run_is_refused_and_the_difference_named(data, tmp_path, name):
    written(data, tmp_path / "c")
    content = (tmp_path / "c").read_bytes()
    change, message = OTHER[name]
    other, settings = change(data)
    net = settings.pop("net", None) or classifier()
    before = net.core.params.copy()
    with pytest.raises(ValueError, match=rf"c is of another run: {message}"):
        resumed(other, tmp_path / "c", net, **settings)
    np.testing.assert_array_equal(net.core.params, before)
    assert net.optimizer is None
    assert (tmp_path / "c").read_bytes() == content


def forge(path, change):
    """A file with a right digest and a wrong content."""
    tensors, state = checkpoint._from_bytes(path, path.read_bytes())
    change(tensors, state)
    path.write_bytes(checkpoint._to_bytes(tensors, state))


def test_an_optimizer_state_of_the_wrong_shape(data, tmp_path):
    written(data, tmp_path / "c", optimizer=Adam())
    forge(tmp_path / "c", lambda tensors, state: tensors.update(optimizer=np.zeros((1, 51))))
    with pytest.raises(
        ValueError, match=r"optimizer as float64 of shape \(1, 51\), expected float64 of shape \(2, 51\)"
    ):
        resumed(data, tmp_path / "c", optimizer=Adam())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, state: tensors.pop("params"), "has no params, expected what fit writes"),
        (lambda tensors, state: tensors.pop("optimizer"), "has no optimizer, expected what fit writes"),
        (lambda tensors, state: state.pop("optimizer"), "has no optimizer, expected what fit writes"),
        (lambda tensors, state: state.pop("epoch"), "has no epoch, expected what fit writes"),
        (lambda tensors, state: tensors.update(loss=np.zeros(9)), "has 9 losses, expected at most 8"),
    ],
)
def test_what_is_missing_or_too_much(data, tmp_path, change, message):
    written(data, tmp_path / "c")
    forge(tmp_path / "c", change)
    net = classifier()
    before = net.core.params.copy()
    with pytest.raises(ValueError, match=message):
        resumed(data, tmp_path / "c", net)
    np.testing.assert_array_equal(net.core.params, before)


def test_functions_are_the_same_in_the_next_process(data, tmp_path):
    """Where a function lies in memory does not make it another one."""

    def settings():
        def worst(y, t):
            return float(np.abs(y - t).max())

        stopping = EarlyStopping(worst, 9, mode="min")
        follower = ReduceOnPlateau(metric=worst, mode="min")
        return {"validation_data": samples, "early_stopping": stopping, "schedule": follower, "metrics": [worst]}

    net, samples = NeuralNetwork([Layer(4, 3)], rng=0), (data[0], np.eye(3)[data[1]])
    fit(net, samples, checkpoint=tmp_path / "c", **settings())
    fit(net, samples, checkpoint=tmp_path / "c", resume=True, **settings())


def test_a_newer_format_and_other_files(data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", "2")
    written(data, tmp_path / "c")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format '2', expected '1': use a newer nncore"):
        resumed(data, tmp_path / "c")
    classifier().save(tmp_path / "model")
    with pytest.raises(ValueError, match="model is not a checkpoint, expected a file that fit wrote"):
        resumed(data, tmp_path / "model")


def test_a_full_disk_leaves_a_checkpoint(data, tmp_path, monkeypatch):
    written(data, tmp_path / "c")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            resumed(data, tmp_path / "c")
    net = classifier()
    resumed(data, tmp_path / "c", net)
    assert net.trained_with[1].n_steps == 8


def test_a_file_system_without_links(data, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuse)
    written(data, tmp_path / "c", times=2)
    steps = [
        checkpoint._from_bytes(tmp_path / n, (tmp_path / n).read_bytes())[1]["n_steps"] for n in ("c", "c.previous")
    ]
    assert steps == [8, 4]


BAD = {
    "every": ({"checkpoint_every": "soon"}, "checkpoint_every is 'soon', expected a time such as '30s'"),
    "every 0": ({"checkpoint_every": 0}, "checkpoint_every is 0, expected a time"),
    "every 0s": ({"checkpoint_every": "0s"}, "checkpoint_every is '0s', expected a time"),
    "path": ({"checkpoint": 3}, "checkpoint is 3, expected the path of a file"),
    "folder": ({"checkpoint": "nowhere/c"}, "but there is no folder"),
    "a folder": ({"checkpoint": "."}, "which is a folder"),
    "no path": ({"checkpoint": None}, "resume is True and checkpoint is None"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings(data, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    settings, message = BAD[name]
    net = classifier()
    before = net.core.params.copy()
    with pytest.raises((ValueError, TypeError, OSError), match=re.escape(message)):
        resumed(data, "c", net, **settings)
    np.testing.assert_array_equal(net.core.params, before)


def test_times():
    assert [checkpoint.interval(text) for text in ("30s", "50ms", "1.5 min", "2h", 7)] == [
        (30.0, 0), (0.05, 0), (90.0, 0), (7200.0, 0), (0.0, 7),
    ]  # fmt: skip


def test_a_checkpoint_by_the_clock(data, tmp_path, monkeypatch):
    """A clock that runs a millisecond a look."""
    clock = itertools.count()
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock) / 1000)
    monkeypatch.setattr(training, "CHUNK_SECONDS", 0.0)
    seen = []
    monkeypatch.setattr(
        checkpoint.Checkpoint, "write", lambda self, tensors, state, done: seen.append(self._count(done))
    )
    fit(classifier(), data, checkpoint=tmp_path / "c", checkpoint_every="10ms")
    assert len(seen) == pytest.approx(TOTAL / 10, rel=0.2)


def test_sums_of_large_arrays_take_blocks_of_them(rng, monkeypatch):
    monkeypatch.setattr(fingerprint, "WHOLE_BYTES", 1 << 12)
    monkeypatch.setattr(fingerprint, "BLOCK_BYTES", 1 << 8)
    x = rng.integers(256, size=(1 << 14, 1), dtype=np.uint8)
    other = x.copy()
    other[5 * 1024 + 3] ^= 1
    assert fingerprint.checksum(other) != fingerprint.checksum(x)
    assert fingerprint.checksum(other[:-1]) != fingerprint.checksum(other)
