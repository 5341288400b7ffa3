"""class NeuralNetwork: a model that trains, and is saved, loaded and exported."""

import os
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.core.blas import single_threaded_blas
from nncore.data import batches
from nncore.data import inputs as _inputs
from nncore.model.model import Model
from nncore.training import divergence, scoring
from nncore.training import fit as training
from nncore.training.early_stopping import EarlyStopping
from nncore.training.history import History
from nncore.training.optimizers import LBFGS, SGD, Optimizer
from nncore.training.schedules import Schedule

Array = NDArray[Any]


class NeuralNetwork(Model):
    """A stack of dense layers with a loss.

    Parameters
    ----------
    layers : iterable of Layer
        From input to output; more can follow by add_layer.
    loss : str or function
        A sum over outputs, averaged over the batch:

        - "squared_error": (y - t)**2 / 2;
        - "absolute_error": abs(y - t);
        - "huber(delta)" (1 without the parentheses): (y - t)**2 / 2 up to an error of delta, linear beyond;
        - "quantile(q)" (0.5): max(q * (t - y), (q - 1) * (t - y));
        - "poisson": exp(y) - t * y, t 0 or more, so that predict yields the logarithm of the mean;
        - "softmax_cross_entropy": -t * log(softmax(a) + delta), t labels or rows of numbers from 0 to 1 that sum to 1
          (within 1e-5; 1e-3 in float32). The last layer has two outputs or more, no activation, and predict yields
          logits; or "softmax", and predict yields probabilities;
        - "sigmoid_cross_entropy": -t * log(s) - (1 - t) * log(1 - s) with s = sigmoid(a), t from 0 to 1. The last layer
          has no activation and predict yields logits, or "sigmoid" and predict yields probabilities;
        - "binary_cross_entropy": the same of probabilities y, with logarithms of at least -100;
        - "hinge": max(0, 1 - t * y), t -1 or 1;
        - your own: a function of outputs y and targets t, both (n_samples, n_out), labels as one-hot rows, that returns
          (loss, dy): a number and its gradient by y. Whether it is a mean over the batch is its own business; with a
          sum steps are longer by the batch size. It takes no sample_weight. Training goes through Python, batch by
          batch.
    dtype : {float64, float32}
        Of parameters and arithmetic; data of another type are converted while they are read.
    rng : int or numpy.random.Generator, optional
        For initial weights, and for fit unless it gets its own.
    delta : float
        The book's constant within the logarithm; 0 for the exact loss.
    label_smoothing : float
        Targets of softmax_cross_entropy become (1 - label_smoothing) * t + label_smoothing / n_out.
    input_scale : float
        uint8 data are multiplied by it while they are read; floats are taken as they are. Saved with the model. A
        network trained on uint8 takes other integers from 0 to 255 for bytes too, and refuses floats that are not
        scaled; trained on other integers, or on floats far beyond scaled bytes, it has 1 here.

    Raises
    ------
    TypeError, ValueError
        For unknown names, or layers that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from nncore import SGD, Layer, NeuralNetwork
    >>> net = NeuralNetwork([Layer(2, 8, "tanh"), Layer(8, 1)], rng=0)
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> history = net.fit(X, [0.0, 1.0, 1.0, 0.0], optimizer=SGD(0.1), batch_size=4, epochs=3000)
    >>> net.predict(X).round(1)
    array([[0.],
           [1.],
           [1.],
           [0.]])
    """

    accuracy = scoring.Accuracy()

    def evaluate(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> dict[str, float]:
        """Return the loss, and how good the predictions are, by name.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As X and t in loss.

        Returns
        -------
        dict of float
            "loss", with the penalties, and "accuracy" where the targets stand for classes (of several labels a sample
            the fraction of right labels); "r2" and "rmse" where they are numbers, with "poisson" of the means,
            exp(output). All by the weights, if there is one a sample.

        Raises
        ------
        TypeError, ValueError
            As loss.

        Examples
        --------
        >>> from nncore import Layer, NeuralNetwork
        >>> net = NeuralNetwork([Layer(1, 1, weights=[[2.0]], bias=[0.0])])
        >>> net.evaluate([[1.0], [2.0], [3.0]], [2.0, 4.0, 7.0])
        {'loss': 0.16666666666666666, 'r2': 0.9210526315789473, 'rmse': 0.5773502691896257}
        """
        return scoring.evaluate(self, X, y, sample_weight)

    def score(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy where the targets stand for classes, else R².

        Parameters
        ----------
        X, y, sample_weight : array_like
            As X and t in loss.

        Returns
        -------
        float
            1 at best.

        Raises
        ------
        TypeError, ValueError
            As loss.
        """
        values = self.evaluate(X, y, sample_weight=sample_weight)
        return next(values[name] for name in ("accuracy", "r2") if name in values)

    def backpropagation(self, X: ArrayLike, y: ArrayLike, learning_rate: float) -> None:
        """Make one gradient descent update, with one sample or the mean over a batch.

        Parameters
        ----------
        X, y : array_like
            As X and t in loss.
        learning_rate : float
            Above 0.

        Raises
        ------
        TypeError, ValueError
            If X or y does not fit the network, or the learning rate is not above 0.
        FloatingPointError
            As partial_fit.
        """
        lr = checks.positive_float(learning_rate, "learning_rate")
        rows, targets, single = batches.batch(self, X, y, "X", "y", kind=self.input_kind or _inputs.NUMBERS)
        with self.core.training("backpropagation"):
            loss = self._update(rows, targets, lr)
            self._single_sample = single
            if not loss <= self.loss_limit:
                self.loss_limit = divergence.limit_after(self, loss)
        if self.input_kind is None:
            self._trained_on_first(X, rows)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, *, optimizer: Optimizer | None = None) -> float:
        """Make one update, with one sample or the mean over a batch, as data come in.

        Parameters
        ----------
        X, y : array_like
            As X and t in loss.
        optimizer : Optimizer, optional
            By default that of this network's last fit or partial_fit, whose state is kept; at first SGD().

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        TypeError, ValueError
            If X or y does not fit the network.
        FloatingPointError
            If the loss is not finite; nothing has changed then. If the loss and the largest parameter have grown by a
            factor of 1e10 since the first updates: training has diverged, and parameters of before are gone, so keep a
            copy of what must not be lost.

        Examples
        --------
        >>> from nncore import SGD, Layer, NeuralNetwork
        >>> net, optimizer = NeuralNetwork([Layer(1, 1)], rng=0), SGD(0.1)
        >>> for x in np.random.default_rng(0).uniform(-1, 1, 1000):
        ...     loss = net.partial_fit([x], [2 * x + 1], optimizer=optimizer)
        >>> net.predict([0.5]).round(3)
        array([2.])
        """
        if optimizer is None:
            optimizer = self.optimizer or SGD()
        rows, targets, single = batches.batch(self, X, y, "X", "y", kind=self.input_kind or _inputs.NUMBERS)
        with self.core.training("partial_fit"):
            before = self.trained_with
            rule, state = training.rule_and_state(self, optimizer)
            loss = self._update(rows, targets, optimizer.lr, rule, state)
            self._single_sample = single
            if not loss <= self.loss_limit:
                if not isfinite(loss):
                    self.trained_with = before
                self.loss_limit = divergence.limit_after(self, loss)
        if self.input_kind is None:
            self._trained_on_first(X, rows)
        return loss

    def _trained_on_first(self, X: ArrayLike, rows: Array) -> None:
        """The first sample or batch says what kind of numbers the network is trained on."""
        _inputs.trained_on(self, _inputs.kind_of(X, rows, _inputs.scale_with(self, _inputs.BYTES)))

    def _update(self, rows: Array, targets: Array, lr: float, *rule: Any) -> float:
        """One update with the samples; returns the loss before it."""
        core, n = self.core, len(rows)
        if core.has_dropout or core.has_batch_norm:
            return self._masked_update(rows, targets, lr, *rule)
        if n == 1:  # without products
            return core.step(rows, targets, lr, *rule)
        with single_threaded_blas(n * self.n_params):
            return core.step(rows, targets, lr, *rule)

    def _masked_update(self, rows: Array, targets: Array, lr: float, *rule: Any) -> float:
        """One update as fit makes it, with dropout and the moments of the batch; the masks go on where they ended."""
        if self._seed is None:
            self._seed = int(self.rng.integers(1 << 63))
        loss, n = np.empty(1), len(rows)
        with single_threaded_blas(n * self.n_params):
            self.core.train(
                rows, targets, None, np.arange(n), 0, n, n, lr, loss, *rule, seed=self._seed, first_step=self._masks
            )
        self._masks += 1
        return float(loss[0])

    @property
    def optimizer(self) -> Optimizer | None:
        """What fit or partial_fit last updated this network with; its state for this network is kept."""
        used: Optimizer | None = self.trained_with[0]
        return used

    def train(
        self,
        X_train: ArrayLike,
        X_test: ArrayLike,
        y_train: ArrayLike,
        y_test: ArrayLike,
        learning_rate: float,
        max_epochs: int,
    ) -> tuple[list[float], list[float]]:
        """Run the article's loop: one update a sample, in order, max_epochs times over the training set.

        Parameters
        ----------
        X_train, X_test : array_like of shape (n_samples, n_in)
        y_train, y_test : array_like
            Labels (n_samples,), or one-hot rows.
        learning_rate : float
        max_epochs : int

        Returns
        -------
        mses : list of float
            Mean of (y - output)**2 over the training set, after epochs 1, 11, 21, ...
        accuracies : list of float
            On the test set, after the same epochs.

        Raises
        ------
        TypeError, ValueError
            If data do not fit the network.
        """
        rows, t_test, _ = batches.batch(self, X_test, y_test, "X_test", "y_test")
        X_train, t_train, _ = batches.batch(self, X_train, y_train, "X_train", "y_train")
        expected = np.eye(self.n_out)[t_train] if t_train.ndim == 1 else t_train
        mses: list[float] = []
        accuracies: list[float] = []

        def record(history: History) -> None:
            if history.epochs % 10 == 1 or max_epochs == 1:
                mses.append(float(np.mean((expected - self.predict(X_train)) ** 2)))
                accuracies.append(scoring.mean_accuracy(self, rows, t_test))

        self.fit(
            X_train, t_train, optimizer=SGD(learning_rate), batch_size=1, epochs=max_epochs,
            sampling="sequential", callbacks=[record], progress=False,
        )  # fmt: skip
        return mses, accuracies

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        optimizer: str | Optimizer | LBFGS | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        iterations: int | None = None,
        sampling: str = "shuffle",
        schedule: str | Schedule | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | ArrayLike | str | None = None,
        metrics: Sequence[str | Callable[[Array, Array], float]] | None = None,
        early_stopping: int | EarlyStopping | None = None,
        callbacks: Sequence[Callable[[History], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: str | int = "30s",
        resume: bool = False,
        progress: bool | str = "auto",
        n_threads: int | str = "auto",
        rng: int | np.random.Generator | None = None,
    ) -> History:
        """Train: many updates a call of the compiled core, Python only about every 50 ms.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_in)
            float32, float64 or uint8 (times input_scale) are read as they are, without a copy in the network's type.
            Rows with many zeros are compressed first, which copies their non-zeros; a SciPy sparse matrix is trained on
            as it is, for any number of features. A contiguous numpy.memmap of these
            types may be larger than memory: above 64 MB it is copied and trained on a window of 64 MB at a time.
        y : array_like
            Labels (n_samples,), or targets (n_samples, n_out).
        optimizer : SGD, AdaGrad, RMSprop, Adam, AdamW or LBFGS, or str, optional
            By default SGD(lr=0.01). A name, "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw" or
            "lbfgs", stands for a new one with its defaults. The network keeps the state of the last one: a fit with the
            very same object goes on where the fit before ended, any other begins anew. LBFGS keeps none, and takes all
            samples at once: what is about batches, the learning rate or checkpoints is refused with it.
        batch_size : int, optional
            Samples an update, by default 32 or all if there are fewer; a larger number than there are is an error. The
            last batch of an epoch takes what is left.
        epochs, iterations : int, optional
            How long, by one of the two; 10 epochs if neither is given.
        sampling : {"shuffle", "replacement", "sequential"}
            A new permutation every epoch; the book's draws with replacement (an epoch is then
            max(n_samples // batch_size, 1) updates); or the order given. The permutation of a large numpy.memmap is one
            of blocks of consecutive rows, and of the rows within each window of 64 blocks: so most of the file is read
            in sequence.
        schedule : str or Schedule, optional
            How the optimizer's lr changes from one iteration to the next: "linear", "cosine", "inverse_scaling",
            "plateau", "constant", or an object such as ``WarmUp(500, Cosine())``.
        clip_norm, clip_value : float, optional
            Limits of each update's gradient, above 0: first of every element's size, then of the Euclidean norm over
            all parameters that are trained, as torch.nn.utils.clip_grad_value_ and clip_grad_norm_ have them.
        validation_data : (X_test, y_test), optional
            Then train and test accuracy (losses, if the targets are not classes) are recorded every epoch.
        sample_weight : array_like of shape (n_samples,) or (n_samples, n_out), optional
            Each batch's loss is weighted as in loss.
        class_weight : dict, array_like of shape (n_classes,) or "balanced", optional
            Weights of the samples of each class; classes that a dict does not name have 1, "balanced" is
            n_samples / (n_classes_present * count). With labels, or one-hot rows, a batch's loss is then the mean by
            these weights, as torch.nn.CrossEntropyLoss(weight=...) has it; soft targets of softmax_cross_entropy are
            multiplied by them. Metrics know nothing of weights.
        metrics : sequence of str or callable, optional
            What is recorded every epoch instead, in ``History``, of the validation data: "accuracy", "loss", "top_5"
            (any number), "mse", "r2", "auc", with "train_" before it of the training data, which takes longer; or
            functions of targets (as y, rows if there is one output) and outputs (as predict yields them) that return
            a number.
        early_stopping : int or EarlyStopping, optional
            End when the first metric of the validation data, or without these the epoch's loss, has not improved for so
            many epochs, and take the best parameters. ``History.watched`` names it. A value that is not finite is never
            better.
        callbacks : sequence of callable
            Called with the History after every epoch; one that returns True ends the training.
            ``CSVLog``, ``TimeLimit``, ``PlotHistory`` and ``TensorBoard`` are such.
        checkpoint : path-like, optional
            A file that is written now and then, and at the end, also after Ctrl-C: all that it takes to go on. Each
            replaces the one before, which stays beside it with ".previous" at the end of its name. One run at a time
            has the file, until it ends or is killed.
        checkpoint_every : str or int
            How often: "30s", "500ms", "10min", "1h", or a number of iterations.
        resume : bool
            Go on from the checkpoint, to the bit as if there had been no interruption; begin anew if there is none.
            X, y and all settings must be those of the run that wrote it, but for callbacks, progress and n_threads;
            the generator's state is the checkpoint's. A damaged checkpoint is reported by a warning, and the previous
            one taken.
        progress : bool or "auto"
            A progress bar; "auto" shows it on a terminal.
        n_threads : int or "auto"
            "auto" tries one thread and all of them where steps are large enough to share, and goes by what is faster at
            the time. All are NNCORE_NUM_THREADS, or the CPUs that this process is allowed on and its container has
            time of, but no more than OMP_NUM_THREADS, OMP_THREAD_LIMIT and the limits of threadpoolctl allow, or of
            torch.set_num_threads where PyTorch has the same OpenMP library; one in a process forked from one that has
            used threads. The result does not depend on it, to the bit.
        rng : int or numpy.random.Generator, optional
            For sampling; by default the network's.

        Returns
        -------
        History
            Also after Ctrl-C, with ``interrupted`` True, a warning, and the network as the last update left it.

        Raises
        ------
        TypeError, ValueError
            For data or settings that do not fit, or a checkpoint of another run, or one that holds what fit would not
            have written; nothing has changed then.
        OSError
            If a checkpoint cannot be written; BlockingIOError, before anything has changed, if another run has it.
        FloatingPointError
            If training diverges. It names the iteration, the learning rate, what is large in X and y, and the
            parameters that grew most; the network has its last sane parameters again, or the best with early stopping.
        KeyboardInterrupt
            By Ctrl-C if another fit was ended so within the last second: the user wants out of a loop or search.
        RuntimeError
            If another thread trains this network, or a callback of a training of it calls this; nothing has changed
            then.

        Warns
        -----
        InterruptWarning
            If Ctrl-C ended it.
        UserWarning
            If X is uint8 and has zeros and ones only, which input_scale makes next to nothing.

        Notes
        -----
        Training has diverged if a loss or a parameter is not finite, or if the largest parameter is more than 100 times
        what it was at the start (or than 1, if it was smaller) and the mean loss of up to 4096 training samples more
        than 1e10 times what it was before that, and than that of outputs of 0. This is looked at after fixed numbers of
        updates (16,384 samples or more), before a checkpoint and at the end; the parameters of the last look are kept.

        The same data, settings and seed give the same bits, for any number of threads. Another batch size, another CPU
        level, or rows in another order give sums in another order: the same to rounding.

        From its begin to its end a training has the network for itself. Other threads may predict and compute losses,
        by parameters between two updates or some of them from before one; all else, from gradient to save and an
        assignment to params, is refused to them with a RuntimeError, but for save, exports and copies while callbacks
        are called. What writes into the arrays of params themselves cannot be seen. Callbacks may do everything but
        train. After Ctrl-C or an error the parameters are those after a whole update.

        Examples
        --------
        >>> from nncore import SGD, Layer, NeuralNetwork, load_digits
        >>> (x, t), test = load_digits()
        >>> net = NeuralNetwork([Layer(64, 32, "relu", init="he"), Layer(32, 10)], loss="softmax_cross_entropy", rng=0)
        >>> history = net.fit(x, t, optimizer=SGD(0.2), epochs=30, validation_data=test, rng=0)
        >>> history.test_accuracy[-1] > 0.95
        True
        """
        with self.core.training("fit"):
            return training.fit(
                self, X, y, optimizer=SGD() if optimizer is None else optimizer, batch_size=batch_size, epochs=epochs,
                iterations=iterations, sampling=sampling, schedule=schedule, clip_norm=clip_norm,
                clip_value=clip_value, validation_data=validation_data, sample_weight=sample_weight,
                class_weight=class_weight, metrics=metrics, early_stopping=early_stopping, callbacks=callbacks,
                checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume, progress=progress,
                n_threads=n_threads, rng=rng,
            )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and architecture as a safetensors file, or leave the file that is there as it is.

        Of a symbolic link the target is replaced; anything but a regular file is left alone.

        Raises
        ------
        OSError
            If the file cannot be written.
        TypeError, ValueError
            If path is not the path of a file, or an activation or the loss is a function.

        Warns
        -----
        UserWarning
            If the name ends as files of other programs do, such as .h5 or .onnx; the file is written nevertheless.
        """
        from nncore.files.models import save

        with self.core.reading("save"):
            save(self, path)

    def export_onnx(self, path: str | os.PathLike[str], *, input_dtype: str | None = None) -> None:
        """Write the network as ONNX; see nncore.files.onnx_export.export_onnx.

        Raises
        ------
        ImportError
            If the package onnx is not installed: pip install nncore[onnx].
        OSError, TypeError, ValueError
            If the file cannot be written, or an argument is not as described there.
        """
        from nncore.files.onnx_export import export_onnx

        with self.core.reading("export_onnx"):
            export_onnx(self, path, input_dtype=input_dtype)

    def export_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        input_dtype: str | None = None,
        quantize: str | None = None,
        samples: ArrayLike | None = None,
    ) -> float:
        """Write the network as one C99 header that needs <math.h> only; see nncore.files.c_export.export_c.

        Raises
        ------
        OSError, TypeError, ValueError
            If the file cannot be written, or an argument is not as described there.
        """
        from nncore.files.c_export import export_c

        with self.core.reading("export_c"):
            return export_c(
                self, path, name=name, input_dtype=input_dtype, quantize=quantize, samples=samples
            )  # fmt: skip

    def export_torch(self, path: str | os.PathLike[str]) -> str:
        """Write the parameters as the state dict of a torch.nn.Sequential; see nncore.files.torch_state.export_torch.

        Raises
        ------
        OSError, ValueError
            If the file cannot be written, or the network has no layer.
        """
        from nncore.files.torch_state import export_torch

        with self.core.reading("export_torch"):
            return export_torch(self, path)

    @classmethod
    def from_torch(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any],
        activations: str | Sequence[str | None] | None,
        *,
        names: Sequence[str] | None = None,
        **settings: Any,
    ) -> Self:
        """Make a network of the Linear layers of a PyTorch module; see nncore.files.torch_state.from_torch.

        Raises
        ------
        OSError, TypeError, ValueError
            If the file cannot be read, its tensors are not of Linear layers, or an argument is not as described there.
        """
        from nncore.files.torch_state import from_torch

        return from_torch(source, activations, names=names, make=cls, **settings)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a network that save wrote.

        Raises
        ------
        OSError
            If the file cannot be read.
        MemoryError
            If it is larger than the machine's memory.
        TypeError, ValueError
            If path is not the path of a file, the file is not such a one, a byte of it has changed, or its parameters
            are not finite.

        Warns
        -----
        UserWarning
            If the file is unverified: another program wrote it, without a digest.
        """
        from nncore.files.models import load

        return load(path, cls)
