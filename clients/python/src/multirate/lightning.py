"""Lightning: a callback that sets the rate of each step.

>>> trainer = Trainer(callbacks=[MultirateCallback(loss_lower_bound=0)])  # doctest: +SKIP
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from multirate.client import Client
from multirate.errors import MultirateError
from multirate.held import HeldBatches
from multirate.torch import MultirateLR

__all__ = ["MultirateCallback"]

_STRATEGIES = ("SingleDeviceStrategy", "DDPStrategy")  # those whose gradients are whole on every rank


class MultirateCallback(Callback):
    """Sets the learning rate of each step between ``backward`` and ``optimizer.step``.

    ``configure_optimizers`` returns the optimizer alone, one that `MultirateLR`
    takes. Where the schedule asks for further steps on a mini-batch, the module's
    ``training_step`` gets the held batch, and the loader's is passed over.
    Checkpoints of the trainer have the schedule in them.

    Parameters
    ----------
    client
        A connection to a service. None: a sidecar of this process's own.
    batch
        ``"mini"``, or ``"full"`` when every step is of the same data.
    **options
        More of `MultirateLR`: ``loss_lower_bound``, ``max_learning_rate`` ... For
        mini-batches ``horizon_steps`` is the trainer's number of steps unless given.

    Attributes
    ----------
    scheduler : MultirateLR or None
        While training: the schedule, with its advice and its run.
    """

    def __init__(self, client: Client | None = None, *, batch: str = "mini", **options: Any) -> None:
        self.scheduler: MultirateLR | None = None
        self._client, self._batch, self._options = client, batch, options
        self._batches = HeldBatches(keep=batch == "mini")
        self._hold = 0
        self._resumed: Mapping[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the run, or go on with that of the checkpoint."""
        _refuse_unsupported(trainer, pl_module, self._batch)
        options = dict(self._options)
        if self._batch == "mini" and math.isfinite(trainer.estimated_stepping_batches):
            options.setdefault("horizon_steps", int(trainer.estimated_stepping_batches))
        self.scheduler = MultirateLR(
            trainer.optimizers[0],
            self._client,
            batch=self._batch,
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            process_group=True if trainer.world_size > 1 else None,
            **options,
        )
        self._batches, self._hold = HeldBatches(keep=self._batch == "mini"), 0
        if self._resumed is not None:
            self.scheduler.load_state_dict(dict(self._resumed["schedule"]))
            self._hold = self._batches.load_state_dict(self._resumed["batches"])
            self._resumed = None
        self._wrap(trainer, pl_module)

    def _wrap(self, trainer: Trainer, module: LightningModule) -> None:
        training_step = module.training_step
        accumulated = trainer.accumulate_grad_batches

        @functools.wraps(training_step)
        def step(batch: Any, *rest: Any, **named: Any) -> Any:
            length = int(min(accumulated, trainer.num_training_batches - trainer.fit_loop.batch_idx))
            # Only the first of the step's micro-batches looks at it.
            batch = self._batches.take(batch, hold=self._hold, length=length)
            output = training_step(batch, *rest, **named)
            loss = output.get("loss") if isinstance(output, Mapping) else output
            if isinstance(loss, Tensor):
                self._batches.add(loss / accumulated)
            return output

        module.training_step = step  # type: ignore[method-assign]

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Set the rate for the gradient at hand."""
        assert self.scheduler is not None
        self.scheduler.step(self._batches.finish(), batch_id=self._batches.batch_id)
        self._hold = self.scheduler.hold_batch_steps

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the module its own training_step back."""
        pl_module.__dict__.pop("training_step", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the module its own training_step back."""
        pl_module.__dict__.pop("training_step", None)

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state, for the trainer's checkpoint."""
        if self.scheduler is None:
            return dict(self._resumed or {})
        return {"schedule": self.scheduler.state_dict(), "batches": self._batches.state_dict(self._hold)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state of a checkpoint until training starts."""
        self._resumed = state_dict


def _refuse_unsupported(trainer: Trainer, module: LightningModule, batch: str) -> None:
    strategy = type(trainer.strategy).__name__
    wrong = {
        "manual optimization": not module.automatic_optimization
        and "use MultirateLR in training_step itself",
        f"{len(trainer.optimizers)} optimizers": len(trainer.optimizers) != 1
        and "let configure_optimizers return one",
        "another learning rate scheduler": bool(trainer.lr_scheduler_configs)
        and "let configure_optimizers return the optimizer alone",
        "gradient clipping": bool(trainer.gradient_clip_val)
        and "leave gradient_clip_val out, and bound the step by max_learning_rate",
        strategy: strategy not in _STRATEGIES and "train on one device, or with DDP",
        # Only the first rank hears when to hold.
        "mini-batches on several ranks": batch == "mini" and trainer.world_size > 1 and "train on one device",
    }
    for what, instead in wrong.items():
        if instead:
            raise MultirateError(f"MultirateCallback does not work with {what}: {instead}")
