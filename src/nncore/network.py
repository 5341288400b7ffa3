"""class NeuralNetwork: a model that trains, and is saved, loaded and exported."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.data import batches
from nncore.data.samples import Data
from nncore.files import c_export, models, onnx_export, torch_state
from nncore.training import fit as training
from nncore.training import scoring
from nncore.training.early_stopping import EarlyStopping
from nncore.training.history import History
from nncore.training.online import OnlineModel
from nncore.training.optimizers import LBFGS, SGD
from nncore.training.schedules import Schedule
from nncore.training.scoring import ScoredModel
from nncore.training.settings import FitSettings
from nncore.training.update_rule import Optimizer

Array = NDArray[Any]


class NeuralNetwork(OnlineModel, ScoredModel):
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
        - "log_cosh": log(cosh(y - t)), about (y - t)**2 / 2 of small errors and abs(y - t) - log(2) of large ones;
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
            as it is, for any number of features. A contiguous numpy.memmap of these types
            may be larger than memory: above 64 MB it is copied and trained on a window of 64 MB at a time.
        y : array_like
            Labels (n_samples,), or targets (n_samples, n_out).
        optimizer : SGD, AdaGrad, RMSprop, Adam, AdamW, NAdam or LBFGS, or str, optional
            By default SGD(lr=0.01). A name, "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw",
            "nadam" or "lbfgs", stands for a new one with its defaults. The network keeps the state of the last one: a
            fit with the very same object goes on where the fit before ended, any other begins anew. LBFGS keeps none,
            and takes all samples at once: what is about batches, the learning rate or checkpoints is refused with it.
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
            "auto" tries one thread and all of them (NNCORE_NUM_THREADS, or what the process, its container and OpenMP
            allow) where steps are large enough to share, and goes by what is faster at the time. The result does not
            depend on it, to the bit.
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
        The same data, settings and seed give the same bits, for any number of threads. While it trains, other threads
        may only predict and compute losses (RuntimeError for all else), and callbacks may do everything but train. When
        training counts as diverged, and more on threads: docs/training.md.

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
            data = Data(self, X, y, validation_data, sample_weight, class_weight)
            return training.fit(
                self, data, FitSettings(
                    optimizer=optimizer, batch_size=batch_size, epochs=epochs, iterations=iterations,
                    sampling=sampling, schedule=schedule, clip_norm=clip_norm, clip_value=clip_value, metrics=metrics,
                    early_stopping=early_stopping, callbacks=callbacks, checkpoint=checkpoint,
                    checkpoint_every=checkpoint_every, resume=resume, progress=progress, n_threads=n_threads, rng=rng,
                )
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
        with self.core.reading("save"):
            models.save(self, path)

    def export_onnx(self, path: str | os.PathLike[str], *, input_dtype: str | None = None) -> None:
        """Write the network as ONNX; see nncore.files.onnx_export.export_onnx.

        Raises
        ------
        ImportError
            If the package onnx is not installed: pip install nncore[onnx].
        OSError, TypeError, ValueError
            If the file cannot be written, or an argument is not as described there.
        """
        with self.core.reading("export_onnx"):
            onnx_export.export_onnx(self, path, input_dtype=input_dtype)

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
        with self.core.reading("export_c"):
            return c_export.export_c(
                self, path, name=name, input_dtype=input_dtype, quantize=quantize, samples=samples
            )  # fmt: skip

    def export_torch(self, path: str | os.PathLike[str]) -> str:
        """Write the parameters as the state dict of a torch.nn.Sequential; see nncore.files.torch_state.export_torch.

        Raises
        ------
        OSError, ValueError
            If the file cannot be written, or the network has no layer.
        """
        with self.core.reading("export_torch"):
            return torch_state.export_torch(self, path)

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
        return torch_state.from_torch(source, activations, names=names, make=cls, **settings)

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
        return models.load(path, cls)
