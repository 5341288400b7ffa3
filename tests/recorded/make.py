"""Write the files that later versions must read: python tests/recorded/make.py, with the version whose files they are.

Models and checkpoints are written by the public interface only, and beside them what they held, as hexadecimal
digits of every number. tests/test_recorded.py reads them.
"""

import json
import warnings
from pathlib import Path

import numpy as np

import nncore
from nncore import Layer, NeuralNetwork

HERE = Path(__file__).parent
SAMPLES = 24


def data(n_in, n_out, classes):
    """Samples that any version draws the same: no generator has a part in it."""
    x = np.sin(np.arange(SAMPLES * n_in, dtype=float) ** 1.5).reshape(SAMPLES, n_in)
    t = np.arange(SAMPLES) % n_out if classes else np.cos(np.arange(SAMPLES * n_out)).reshape(SAMPLES, n_out)
    return x, t


MODELS = {
    "softmax": lambda: NeuralNetwork(
        [Layer(3, 4, "relu", init="he", dropout=0.25, l2=0.01), Layer(4, 3)],
        loss="softmax_cross_entropy", dtype="float32", rng=1, label_smoothing=0.1, input_scale=0.5,
    ),
    "normed": lambda: NeuralNetwork(
        [Layer(2, 5, "tanh", batch_norm=True), Layer(5, 4, "leaky_relu(0.2)", use_bias=False), Layer(4, 1)],
        loss="huber(0.5)", rng=2,
    ),
    "activations": lambda: NeuralNetwork(
        [Layer(2, 2, "gelu"), Layer(2, 2, "silu"), Layer(2, 2, "elu"), Layer(2, 2, "selu"), Layer(2, 2, "softplus"),
         Layer(2, 2, "hard_sigmoid", max_norm=2.0), Layer(2, 1, "sigmoid")],
        loss="sigmoid_cross_entropy", rng=3,
    ),
}  # fmt: skip
# optimizer, schedule, more settings
RUNS = {
    "momentum": (lambda: nncore.Momentum(0.05), "cosine", {}),
    "adam": (lambda: nncore.Adam(0.01), "plateau", {"early_stopping": 50, "metrics": ["loss"]}),
    "rmsprop": (lambda: nncore.RMSprop(0.01), None, {"sampling": "replacement", "clip_norm": 1.0}),
}
UPDATES, BATCH = 40, 7


def classes_of(net):
    return net.loss_name == "softmax_cross_entropy"


def run(net, optimizer, path, iterations=UPDATES, **settings):
    """One training run, with its checkpoint."""
    x, t = data(net.n_in, net.n_out, classes_of(net))
    return net.fit(
        x, t, optimizer=optimizer(), batch_size=BATCH, iterations=UPDATES, validation_data=(x, t), rng=5,
        progress=False, n_threads=1, checkpoint=path, checkpoint_every=UPDATES // 2, **settings,
    )  # fmt: skip


def digits(array):
    return [float(value).hex() for value in np.ravel(array)]


def main():
    expected = {"level": nncore.show_config("dicts")["level"].split()[0], "models": {}, "runs": {}}
    for name, make in MODELS.items():
        net = make()
        x, t = data(net.n_in, net.n_out, classes_of(net))
        t = np.abs(t) if net.loss_name == "sigmoid_cross_entropy" else t
        net.fit(x, t, epochs=2, batch_size=5, rng=4, progress=False)
        net.save(HERE / f"{name}.safetensors")
        expected["models"][name] = {
            "summary": net.summary(),
            "params": {key: digits(value) for key, value in net.params.items()},
            "outputs": digits(net.predict(x)),
        }
    for name, (optimizer, schedule, settings) in RUNS.items():
        path = HERE / f"{name}.ckpt"

        def stop(history):
            return history.iterations >= UPDATES // 2

        net = MODELS["softmax"]()
        run(net, optimizer, path, schedule=schedule, callbacks=[stop], **settings)
        path.with_name(f"{name}.ckpt.previous").unlink(missing_ok=True)
        held = digits(net.core.params)
        whole = MODELS["softmax"]()
        history = run(whole, optimizer, HERE / "whole.ckpt", schedule=schedule, **settings)
        for left in HERE.glob("whole.ckpt*"):
            left.unlink()
        expected["runs"][name] = {
            "held": held, "params": digits(whole.core.params), "loss": digits(history.loss),
        }  # fmt: skip
    (HERE / "expected.json").write_text(json.dumps(expected, indent=0))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
