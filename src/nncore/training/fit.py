"""fit: wires data, settings, what follows an epoch, checkpoints and the progress bar to one run."""

import dataclasses

from nncore.core import notices
from nncore.data.samples import Data
from nncore.model.model import Model
from nncore.training import lbfgs
from nncore.training.early_stopping import early_stopping
from nncore.training.epoch_end import EpochEnd
from nncore.training.evaluation import Evaluation
from nncore.training.history import History
from nncore.training.optimizers import LBFGS, by_name
from nncore.training.progress import bar_of
from nncore.training.resume import Checkpoints
from nncore.training.run import Run
from nncore.training.settings import FitSettings, checked


def fit(net: Model, data: Data, given: FitSettings) -> History:
    """Train; everything is checked before anything changes. NeuralNetwork.fit says what the settings are."""
    given = dataclasses.replace(given, optimizer=by_name(given.optimizer))
    if isinstance(given.optimizer, LBFGS):
        history = lbfgs.fit(net, data, given.optimizer, given)
    else:
        history = _descend(prepare(net, data, given), given)
    if history.interrupted:
        notices.interrupted(f"Ctrl-C ended this fit after {history.iterations:,} iterations")
    return history


def prepare(net: Model, data: Data, given: FitSettings) -> Run:
    """Return the run that is asked for, if all settings fit; nothing changes before it trains."""
    net.expect_finite()
    net.expect_unweighted(data.weights)  # again: others of a population share the data
    settings = checked(given, net, len(data.x))
    evaluation = Evaluation(net, (data.x, data.true), data.test, given.metrics)
    stopping = early_stopping(given.early_stopping)
    epoch_end = EpochEnd(net, History(), evaluation, settings.schedule, stopping, settings.callbacks)
    return Run(net, data, settings, epoch_end)


def _descend(run: Run, given: FitSettings) -> History:
    """Train, with checkpoints if they are asked for."""
    if given.checkpoint is None:
        if given.resume:
            raise ValueError("resume is True and checkpoint is None, expected the path of a checkpoint")
        return _with_bar(run, given)
    checkpoints = Checkpoints(run, given)
    with checkpoints:
        if given.resume:
            checkpoints.read(run)
        run.keeper = checkpoints
        return _with_bar(run, given)


def _with_bar(run: Run, given: FitSettings) -> History:
    with bar_of(given.progress, run.settings.total) as bar:
        return run.train(bar)
