"""Hugging Face Transformers: a callback that sets the rate of each step.

>>> trainer = Trainer(model, TrainingArguments("out", optim="sgd", max_grad_norm=0))  # doctest: +SKIP
>>> trainer.add_callback(MultirateCallback(trainer, loss_lower_bound=0))  # doctest: +SKIP
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from multirate.client import Client
from multirate.errors import MultirateError
from multirate.held import HeldBatches
from multirate.torch import MultirateLR

__all__ = ["MultirateCallback"]


class MultirateCallback(TrainerCallback):
    """Sets the learning rate of each step between ``backward`` and ``optimizer.step``.

    The trainer's optimizer is one that `MultirateLR` takes, such as
    ``TrainingArguments(optim="sgd")`` makes. Where the schedule asks for further
    steps on a mini-batch, ``training_step`` gets the held batch, and the loader's
    is passed over. Checkpoints of the trainer have the schedule in their
    ``scheduler.pt``.

    Parameters
    ----------
    trainer
        The trainer, to which the callback is added. It takes the place of its
        learning rate scheduler and looks at its ``training_step``.
    client
        A connection to a service. None: a sidecar of this process's own.
    batch
        ``"mini"``, or ``"full"`` when every step is of the same data.
    **options
        More of `MultirateLR`: ``loss_lower_bound``, ``max_learning_rate`` ... For
        mini-batches ``horizon_steps`` is the trainer's number of steps unless given.

    Raises
    ------
    MultirateError
        The trainer does something to the gradient that the schedule can't know.
    """

    def __init__(
        self, trainer: Trainer, client: Client | None = None, *, batch: str = "mini", **options: Any
    ) -> None:
        _refuse_unsupported(trainer, batch)
        self._trainer, self._client, self._batch, self._options = trainer, client, batch, options
        self._schedule = _Schedule()
        trainer.lr_scheduler = self._schedule  # type: ignore[assignment]  # any LRScheduler will do
        self._wrap(trainer)

    @property
    def scheduler(self) -> MultirateLR | None:
        """The schedule, with its advice and its run; None before training."""
        return self._schedule.inner

    def _wrap(self, trainer: Trainer) -> None:
        training_step, schedule = trainer.training_step, self._schedule

        @functools.wraps(training_step)
        def step(model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
            length = getattr(trainer, "current_gradient_accumulation_steps", 1)
            inputs, items = schedule.batches.take(
                [_plain_dict(inputs), num_items_in_batch], hold=schedule.hold, length=length
            )
            # It takes the labels out of what it is given.
            loss: Tensor = training_step(model, _plain_dict(inputs), items)
            schedule.batches.add(loss)
            return loss

        trainer.training_step = step  # type: ignore[method-assign]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the run, or go on with that of the checkpoint."""
        options = dict(self._options)
        if self._batch == "mini":
            options.setdefault("horizon_steps", state.max_steps)
        optimizer: Any = self._trainer.optimizer
        self._schedule.begin(
            MultirateLR(
                getattr(optimizer, "optimizer", optimizer),  # accelerate wraps it
                self._client,
                batch=self._batch,
                scaler=self._trainer.accelerator.scaler,
                process_group=True if args.world_size > 1 else None,
                **options,
            ),
            keep=self._batch == "mini",
        )

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the rate for the gradient at hand."""
        self._schedule.ask()


class _Schedule(LRScheduler):
    """What the trainer steps, saves and loads in place of a schedule of its own."""

    def __init__(self) -> None:
        # As MultirateLR, it does not run the base's constructor, which would step.
        self.inner: MultirateLR | None = None
        self.batches = HeldBatches(keep=False)
        self.hold = 0
        self._resumed: Mapping[str, Any] | None = None

    def begin(self, inner: MultirateLR, keep: bool) -> None:
        """Take the schedule of a training about to start, at the checkpoint loaded before, if any."""
        self.inner, self.batches, self.hold = inner, HeldBatches(keep), 0
        if self._resumed is not None:
            inner.load_state_dict(dict(self._resumed["schedule"]))
            self.hold = self.batches.load_state_dict(self._resumed["batches"])
            self._resumed = None

    def ask(self) -> None:
        """Set the rate of the step about to be taken."""
        assert self.inner is not None
        self.inner.step(self.batches.finish(), batch_id=self.batches.batch_id)
        self.hold = self.inner.hold_batch_steps

    def step(self, *_: Any) -> None:
        """Do nothing: the trainer steps after the optimizer, and the rate was set before."""

    def get_last_lr(self) -> list[float | Tensor]:
        """Return the latest rates, for the trainer's log."""
        return self.inner.get_last_lr() if self.inner is not None else [0.0]

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state, for the trainer's checkpoint."""
        if self.inner is None:
            return dict(self._resumed or {})
        return {"schedule": self.inner.state_dict(), "batches": self.batches.state_dict(self.hold)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until training begins: the optimizer's is loaded first."""
        self._resumed = state_dict


def _plain_dict(inputs: Any) -> Any:
    return dict(inputs) if isinstance(inputs, Mapping) else inputs


def _refuse_unsupported(trainer: Trainer, batch: str) -> None:
    args = trainer.args
    wrong = {
        "gradient clipping": args.max_grad_norm > 0
        and "give TrainingArguments(max_grad_norm=0), and bound the step by max_learning_rate",
        "model_init": trainer.model_init is not None and "give the trainer a model",
        "a learning rate scheduler of the trainer's": trainer.lr_scheduler is not None
        and "leave it out of optimizers=(optimizer, None)",
        "DeepSpeed": trainer.is_deepspeed_enabled and "train on one device, or with DDP",
        "FSDP": trainer.is_fsdp_enabled and "train on one device, or with DDP",
        # Only the first rank hears when to hold.
        "mini-batches on several ranks": batch == "mini" and args.world_size > 1 and "train on one device",
    }
    for what, instead in wrong.items():
        if instead:
            raise MultirateError(f"MultirateCallback does not work with {what}: {instead}")
