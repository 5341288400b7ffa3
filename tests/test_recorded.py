"""Files of earlier versions are read, and give the same bits; public names and signatures are as they were recorded."""

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recorded import make, names

import nncore
from nncore import NeuralNetwork

HERE = Path(make.__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())
SAME_LEVEL = nncore.show_config("dicts")["level"].split()[0] == EXPECTED["level"]


ADDED = {
    "nncore.NAdam": "(lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, momentum_decay=0.004)",
    "nncore.NAdam.betas": "attribute",
    "nncore.NAdam.eps": "attribute",
    "nncore.NAdam.lr": "attribute",
    "nncore.NAdam.momentum_decay": "attribute",
    "nncore.NAdam.update": "(params, grads)",
    "nncore.NAdam.weight_decay": "attribute",
    "nncore.NeuralNetwork.astype": "(dtype)",
    "nncore.NeuralNetwork.first_layer_bytes": "attribute",
    "nncore.NeuralNetwork.folded": "()",
    "nncore.NeuralNetwork.named": "(flat)",
    "nncore.NeuralNetwork.takes_sparse": "attribute",
    "nncore.losses.log_cosh": "(y, t, weights=None)",
    "nncore.mish": "(x)",
    "nncore.softsign": "(x)",
}


def numbers(digits):
    return np.array([float.fromhex(one) for one in digits])


def expect(found, digits):
    """The same bits at the level that wrote them, the same to rounding at others."""
    expected = numbers(digits)
    if SAME_LEVEL:
        np.testing.assert_array_equal(np.ravel(found), expected)
    else:
        np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", make.MODELS)
def test_models_that_were_saved_before(name):
    expected = EXPECTED["models"][name]
    net = NeuralNetwork.load(HERE / f"{name}.safetensors")
    assert net.summary() == expected["summary"]
    assert {key: make.digits(value) for key, value in net.params.items()} == expected["params"]
    expect(net.predict(make.data(net.n_in, net.n_out, False)[0]), expected["outputs"])


@pytest.mark.parametrize("name", make.RUNS)
def test_runs_that_were_interrupted_before(name, tmp_path):
    optimizer, schedule, settings = make.RUNS[name]
    path = shutil.copy(HERE / f"{name}.ckpt", tmp_path)
    net, begun = make.MODELS["softmax"](), []
    begun_with = [lambda history: begun.append(history.iterations)]
    history = make.run(net, optimizer, path, schedule=schedule, callbacks=begun_with, resume=True, **settings)
    assert begun[0] > make.UPDATES // 2
    expect(net.core.params, EXPECTED["runs"][name]["params"])
    expect(history.loss, EXPECTED["runs"][name]["loss"])


def test_settings_that_the_command_wrote_before(tmp_path):
    command = [sys.executable, "-m", "nncore", "train", "--config", HERE / "config.toml", "--out", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, before = ((folder / "config.toml").read_text().splitlines() for folder in (tmp_path / "run", HERE))
    assert [line for line in found if not line.startswith("out")] == [
        line for line in before if not line.startswith("out")
    ]


def test_public_names_and_signatures_are_those_recorded():
    """As they were before modules became packages; what is new since is listed in ADDED."""
    before, now = json.loads((HERE / "names.json").read_text()), names.found()
    assert now == before | ADDED


def test_the_recorder_sees_a_changed_default(monkeypatch):
    def relu(x, *, out=0):
        """Another one."""

    monkeypatch.setattr(nncore, "relu", relu)
    assert names.found()["nncore.relu"] == str(inspect.signature(relu))
