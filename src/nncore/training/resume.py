"""The checkpoints of a run: what they hold of it, and how another run takes that over.

Beside network and history that is where the epochs at hand began, how the generator stood there, and how many
iterations are done: the epoch is drawn again and gone on with.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from nncore.core import notices
from nncore.files.checkpoints import Checkpoint
from nncore.training.fingerprint import expect_same, fingerprint
from nncore.training.resume_checks import RECORDED, Resumed, checked
from nncore.training.run import Run
from nncore.training.settings import FitSettings
from nncore.training.update_rule import State, settings_of

Array = NDArray[Any]


class Checkpoints:
    """The keeper of one run's checkpoints. Within its "with" no other run has their file."""

    def __init__(self, run: Run, given: FitSettings) -> None:
        self.fingerprint = fingerprint(run)
        self.file = Checkpoint(given.checkpoint, given.checkpoint_every)
        self.resumed: Resumed | None = None
        # how far the run was when the last one was written
        self.held: tuple[int, int] | None = None

    def __enter__(self) -> "Checkpoints":
        self.file.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.__exit__(*exc)

    def read(self, run: Run) -> None:
        """Read the newest whole checkpoint, if there is one, and check that the run can go on with it.

        Raises
        ------
        OSError, ValueError
            If it is of another run, holds what fit would not have written, or none of those there is whole.
        """
        found = self.file.read()
        if found is None:
            return
        expect_same(found.path, found.state.get("run"), self.fingerprint)
        self.resumed = checked(found.path, found.tensors, found.state, run)
        if found.problem:
            notices.warn(f"{found.problem}: going on from {found.path}")

    def restore(self, run: Run) -> bool:
        """Make the run what it was at the checkpoint that was read; False if there was none."""
        if self.resumed is None:
            return False
        restore(run, self.resumed)
        return True

    def start(self, done: int) -> None:
        """Remove what killed runs have left, and count from here."""
        self.file.start(done)

    def steps_left(self, done: int) -> int:
        """Return the iterations until one is due by their number."""
        return self.file.steps_left(done)

    def due(self, done: int) -> bool:
        """Return whether it is time for one."""
        return self.file.due(done)

    def write(self, run: Run) -> None:
        """Write one."""
        self.file.write(*captured(run, self.fingerprint), run.history.iterations)
        self.held = _position(run)

    def finish(self, run: Run) -> None:
        """Write the last one, unless it is there."""
        if self.held != _position(run):
            self.write(run)


def _position(run: Run) -> tuple[int, int]:
    return run.history.iterations, len(run.history.epoch_ends)


def captured(run: Run, own: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and the numbers of a run as it is now; own is its fingerprint."""
    history, epoch_end, core = run.history, run.epoch_end, run.net.core
    tensors = {
        "params": core.params, "moments": core.moments, "optimizer": run.state.vectors, "loss": history.loss,
    }  # fmt: skip
    if history.lr is not None:
        tensors["lr"] = history.lr
    if epoch_end.best_network is not None:
        tensors["best_params"], tensors["best_moments"] = epoch_end.best_network
    state = {
        "run": own,
        "epoch": run.epoch,
        "seed": run.seed,
        "n_steps": run.state.n_steps,
        "optimizer": settings_of(run.settings.optimizer),
        "layers": [layer.settings() for layer in run.net.layers],
        "schedule": epoch_end.follower and epoch_end.follower.state,
        "early_stopping": [epoch_end.best, epoch_end.waited],
        "history": {name: getattr(history, name) for name in RECORDED},
    }
    return tensors, state


def restore(run: Run, saved: Resumed) -> None:
    """Make a run what it was when the checkpoint was written; all that is in it has been checked."""
    _restore_network(run, saved)
    _restore_history(run, saved)
    epoch_end, tensors = run.epoch_end, saved.tensors
    if epoch_end.follower:
        epoch_end.follower.state = saved.schedule
    epoch_end.best, epoch_end.waited = saved.early_stopping
    if "best_params" in tensors:
        epoch_end.best_network = tensors["best_params"], tensors["best_moments"]
    run.epoch, run.seed = saved.epoch, saved.seed


def _restore_network(run: Run, saved: Resumed) -> None:
    """Restore the parameters, the optimizer with its state, and the settings of the layers."""
    core, tensors, optimizer = run.net.core, saved.tensors, run.settings.optimizer
    core.params[:], core.moments[:] = tensors["params"], tensors["moments"]
    run.state = State(tensors["optimizer"].copy(), saved.n_steps)
    run.net.trained_with = optimizer, run.state
    for name, value in saved.optimizer.items():
        setattr(optimizer, name, value)
    for layer, settings in zip(run.net.layers, saved.layers, strict=True):
        for name, value in settings.items():
            setattr(layer, name, value)


def _restore_history(run: Run, saved: Resumed) -> None:
    history, tensors, rates = run.history, saved.tensors, run.rates.values
    done = len(tensors["loss"])
    run.losses[:done] = tensors["loss"]
    history.loss, history.epochs = run.losses[:done], -(-done // run.plan.steps)
    if rates is not None:
        rates[:done] = tensors["lr"]
        history.lr = rates[:done]
    for name, value in saved.history.items():
        setattr(history, name, value)
