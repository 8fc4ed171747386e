"""The learning rate scheduler for PyTorch."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from multirate.advice import Advice
from multirate.background import BackgroundRun
from multirate.client import Client
from multirate.errors import DimensionError, MultirateError, UnsupportedOptimizerError
from multirate.run import Run, RunConfig, statistics
from multirate.sidecar import default_client
from multirate.sketch import Sketcher
from multirate.steady import SteadyRun
from multirate.torch.curvature import Product, lanczos, scaled
from multirate.torch.ranks import Ranks
from multirate.torch.sgd import SGD
from multirate.torch.sketch import GradientSketcher, Measured
from multirate.v1 import spectrum_pb2, statistics_pb2

__all__ = ["MultirateLR"]


class MultirateLR(LRScheduler):
    """Sets the learning rate of each step by the curvature that the training itself shows.

    `step` comes between ``backward()`` and ``optimizer.step()``, so that the rate
    is of the very gradient that is applied:

    >>> scheduler = MultirateLR(optimizer, loss_lower_bound=0)  # doctest: +SKIP
    >>> for _ in range(steps):  # doctest: +SKIP
    ...     optimizer.zero_grad()
    ...     loss = model_loss()
    ...     loss.backward()
    ...     scheduler.step(loss)
    ...     optimizer.step()

    Parameters
    ----------
    optimizer
        `multirate.torch.SGD`, or ``torch.optim.SGD``, with momentum for
        mini-batches only. All param groups get one rate. Weight decay counts as a
        part of the loss, weight_decay/2 |x|^2.
    client
        A connection to a service. None: a sidecar of this process's own.
    loss_lower_bound
        A bound that the loss never goes below. Give it whenever there is one: 0
        for cross-entropy and squared errors.
    batch
        ``"full"`` when every step is of the same data, ``"mini"`` when batches change.
    scaler
        The ``GradScaler``, if one is used: `step` then unscales the gradient,
        unless that was done, and leaves steps that overflowed out.
    upcoming
        Take rates that the service gave in advance, without a call or a sketch.
    sketch
        False: send the norms alone. For runs with a spectrum from products; others
        get safe rates.
    asynchronous
        Never wait for the service: take rates from earlier steps' evidence, where
        that is safe, and 1/L, L the stiffest curvature known, where it is not (see
        `multirate.background.BackgroundRun`). For full batches; costs up to two thirds
        more steps.
    process_group
        Of data-parallel training; ``True`` for the default group. The first rank asks.
    shard
        (offset, dimension): this rank's parameters are that part of a gradient of
        so many elements (FSDP). None: each rank has all of it.
    sign_cache
        ``"int8"`` or ``"wide"``; see `GradientSketcher`.
    snapshot_every
        Steps between the snapshots kept for a service that is lost. 0: none.
    **config
        More of `multirate.RunConfig`: ``run_id``, ``policy``, ``max_learning_rate``,
        ``fallback_learning_rate`` (for mini-batches the optimizer's own unless given) ...

    Raises
    ------
    UnsupportedOptimizerError
        The optimizer does something else than ``x -= lr * gradient``.
    ServiceError, SidecarError
        The service refused the run, or there is none.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        client: Client | None = None,
        *,
        loss_lower_bound: float | None = None,
        batch: str = "full",
        scaler: torch.amp.GradScaler | None = None,
        upcoming: bool = False,
        sketch: bool = True,
        asynchronous: bool = False,
        process_group: Any = None,
        shard: tuple[int, int] | None = None,
        sign_cache: str | None = None,
        snapshot_every: int = 50,
        **config: Any,
    ) -> None:
        _refuse_unsupported(optimizer, mini=batch == "mini")
        if asynchronous:
            _refuse_waiting(batch=batch, scaler=scaler, upcoming=upcoming, process_group=process_group)
        self.optimizer = optimizer
        self._scaler, self._sketch = scaler, sketch
        self._params = _trained(optimizer)
        self._count = sum(len(group["params"]) for group in optimizer.param_groups)
        size = sum(p.numel() for p in self._params)
        offset, dimension = shard or (0, size)
        if shard is not None and _decay(optimizer):
            raise UnsupportedOptimizerError(
                "weight_decay with a shard is not offered yet: leave it 0 and put weight_decay/2 |x|^2 "
                "into the loss"
            )
        if batch == "mini":
            config = {**_momentum(optimizer), **config}
            config.setdefault("fallback_learning_rate", float(optimizer.param_groups[0]["lr"]))
        declaration = RunConfig(dimension, loss_lower_bound=loss_lower_bound, batch=batch, **config)
        self._ranks: Ranks | None = None
        if process_group is not None:
            group = None if process_group is True else process_group
            self._ranks = Ranks(group, sharded=shard is not None, device=self._params[0].device)
        self._steady: SteadyRun | None = None
        if self._ranks is None or self._ranks.first:
            run = (client or default_client()).new_run(declaration, upcoming=upcoming and not self._ranks)
            self._steady = SteadyRun(run, snapshot_every)
        self._background = BackgroundRun(self._steady) if asynchronous and self._steady else None
        self._sketcher = GradientSketcher(
            self._params,
            Sketcher(dimension, declaration.sketch_dimension, declaration.sketch_seed),
            offset=offset,
            scales=optimizer.scales() if isinstance(optimizer, SGD) else None,
            sign_cache=sign_cache,
        )
        self._advice: Advice | None = None
        # Rates of the optimizer's steps since the last step(), which should be one,
        # and whether there is advice that it should have been taken at.
        self._taken: list[float] = []
        self._advised = False
        self._previous: float | None = None  # what was applied at the last step, for the background
        self._watch(optimizer)
        self.base_lrs = [float(g["lr"]) for g in optimizer.param_groups]
        self._last_lr: list[float | Tensor] = list(self.base_lrs)
        self.last_epoch = 0  # steps so far, as in other schedulers

    def _watch(self, optimizer: Optimizer) -> None:
        own = weakref.ref(self)

        def taken(optimizer: Optimizer, *_: Any) -> None:
            scheduler = own()
            if scheduler is not None:
                scheduler._taken.append(float(optimizer.param_groups[0]["lr"]))

        optimizer.register_step_post_hook(taken)

    @property
    def run(self) -> Run:
        """The run, on the rank that has it."""
        if self._steady is None:
            raise MultirateError("the first rank alone has the run")
        return self._steady.run

    @property
    def advice(self) -> Advice | None:
        """The service's latest answer: the rate, its reason, what held it back. None before any step.

        It stays while rates are taken that came ahead with it.
        """
        return self._advice if self._background is None else self._background.advice

    @property
    def hold_batch_steps(self) -> int:
        """Further steps to take on this very mini-batch, if that can be, under the same ``batch_id``.

        Curvature shows between gradients of one batch.
        """
        return self._advice.hold_batch_steps if self._advice is not None else 0

    @property
    def memory_bytes(self) -> int:
        """Bytes beside the parameters that the scheduler keeps, most of them for signs."""
        return self._sketcher.cache_bytes

    def step(self, loss: Tensor | float, *, batch_id: int | None = None) -> None:  # type: ignore[override]
        """Set the learning rate for the step about to be taken.

        Parameters
        ----------
        loss
            At the present parameters, of the same data as the gradient: not scaled
            by a GradScaler, and the mean where gradients were accumulated.
        batch_id
            Names the mini-batch; equal ids at successive steps say that it was held.

        Raises
        ------
        NotFiniteError
            The loss or the gradient is NaN or infinite; nothing was sent. With a
            GradScaler an infinite gradient is its business, and raises nothing.
        DimensionError
            The optimizer's parameters are no longer those of the run.
        ServiceError
            The service refused the step. While it is only away, the last safe rate
            is used, with one ServiceLostWarning.
        MultirateError
            ``optimizer.step()`` came first.
        """
        self._declare_taken()
        if self._ranks is None and self._steady is not None and self._steady.run.upcoming:
            ahead = self._steady.run.take_upcoming(loss.item() if isinstance(loss, Tensor) else loss)
            if ahead is not None:
                self._set(ahead)
                return
        if self._background is not None:
            self._set(self._background.rate(self._measure_later(loss, batch_id), self._previous))
            return
        if self._scaler is not None:
            _unscale(self._scaler, self.optimizer)
        measured = self._measure(loss)
        if self._scaler is not None and not math.isfinite(measured.norm_squared):
            return  # the scaler skips this step
        if self._ranks is not None:
            self._set(self._ranks.share(lambda: self._ask(measured, batch_id)))
        else:
            self._set(self._ask(measured, batch_id))

    def _measure(self, loss: Tensor | float) -> Measured:
        self._check_parameters()
        measured = self._sketcher.measure(
            loss, parameter_norm=self.last_epoch == 0, sketch=self._sketch, decay=_decay(self.optimizer)
        )
        return measured if self._ranks is None else self._ranks.reduce(measured)

    def _measure_later(
        self, loss: Tensor | float, batch_id: int | None
    ) -> Callable[[], statistics_pb2.Statistics]:
        """Set the measuring going, and return what waits for its result."""
        self._check_parameters()
        result = self._sketcher.measure_later(
            loss, parameter_norm=self.last_epoch == 0, sketch=self._sketch, decay=_decay(self.optimizer)
        )
        return lambda: self._statistics(result(), batch_id)

    def _check_parameters(self) -> None:
        if len(self._params) != sum(
            p.requires_grad for g in self.optimizer.param_groups for p in g["params"]
        ):
            raise DimensionError(
                "the optimizer's parameters have changed since the run began: make a new MultirateLR "
                "after add_param_group"
            )

    def _ask(self, m: Measured, batch_id: int | None) -> float:
        assert self._steady is not None
        self._advice = self._steady.advise(self._statistics(m, batch_id))
        return self._advice.learning_rate

    def _statistics(self, m: Measured, batch_id: int | None) -> statistics_pb2.Statistics:
        return statistics(
            m.loss,
            m.norm_squared,
            m.sketch if self._sketch else None,
            parameter_norm=m.parameter_norm,
            batch_id=batch_id,
        )

    def _declare_taken(self) -> None:
        """Tell the run where the optimizer did not do what was advised at the last step."""
        (taken, self._taken), (advised, self._advised) = (self._taken, []), (self._advised, False)
        if len(taken) > advised:
            raise MultirateError(
                f"{len(taken) - advised} steps of the optimizer without a rate for them: call the scheduler "
                "before each, loss.backward(); scheduler.step(loss); optimizer.step()"
            )
        if advised and self._steady is not None:
            rate = taken[0] if taken else 0.0  # the step was left out
            if self._background is not None:
                self._previous = rate
            elif rate != self._last_lr[0]:
                self._steady.run.applied(rate)

    def _set(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._last_lr = [rate] * len(self.optimizer.param_groups)
        self.last_epoch += 1
        self._advised = True

    def get_lr(self) -> list[float | Tensor]:
        """Return the latest rates; there is nothing to compute without a gradient."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state, the run's snapshot included, for the checkpoint.

        To be taken after ``optimizer.step()``. On ranks other than the first it
        has no run.
        """
        state: dict[str, Any] = {
            "last_epoch": self.last_epoch,
            "last_lr": [float(rate) for rate in self._last_lr],
            "taken": list(self._taken),
            "advised": self._advised,
        }
        if self._steady is not None:
            run = (self._background or self._steady).state()
            # A tensor, which torch.load reads with weights_only.
            run["snapshot"] = torch.frombuffer(bytearray(run["snapshot"]), dtype=torch.uint8)
            state["run"] = run
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint, on this service or another, with the same bits.

        The optimizer's own state is to be loaded first, and with a preconditioner
        before this scheduler is made.
        """
        if self._steady is not None:
            run = dict(state_dict["run"])
            run["snapshot"] = run["snapshot"].cpu().numpy().tobytes()
            (self._background or self._steady).load_state(run)
        rates = state_dict["last_lr"]
        self._set(rates[0])
        self.last_epoch, self._advised = state_dict["last_epoch"], state_dict["advised"]
        self._taken = list(state_dict["taken"])

    def estimate_spectrum(
        self,
        product: Product,
        products: int = 20,
        *,
        vectors: bool = False,
        seed: int = 0,
        progress: Any = None,
    ) -> spectrum_pb2.Spectrum:
        """Give the run a spectrum from Hessian-vector products, and return it.

        Parameters
        ----------
        product
            At the present parameters; see `multirate.torch.curvature`.
        products
            At most; each costs about two gradients.
        vectors
            Let the service run Lanczos, with residual bounds and full
            reorthogonalisation, at 8 bytes a parameter and product on the wire.
            False: Lanczos here, on the device, with three vectors.
        seed
            Of the start vector.
        progress
            Called with the products so far and at most. True: a bar of tqdm, where
            that is installed.
        """
        scales = self.optimizer.scales() if isinstance(self.optimizer, SGD) else None
        product = scaled(product, scales)
        like = self._params[0].detach()
        if not vectors:
            coefficients = lanczos(product, like, self.run.dimension, products, seed=seed, progress=progress)
            return self.run.report_lanczos(*coefficients)

        def answer(v: Any) -> Any:
            return product(torch.from_numpy(v).to(like)).cpu().numpy()

        dtype = "float64" if like.dtype == torch.float64 else "float32"
        return self.run.estimate_spectrum(
            answer, max_products=min(products, self.run.dimension), dtype=dtype, seed=seed, progress=progress
        )


def _trained(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]


def _decay(optimizer: Optimizer) -> list[float] | None:
    """Return the weight decay of each trained parameter, None where there is none."""
    decay = [
        float(group.get("weight_decay") or 0.0)
        for group in optimizer.param_groups
        for p in group["params"]
        if p.requires_grad
    ]
    return decay if any(decay) else None


def _unscale(scaler: torch.amp.GradScaler, optimizer: Optimizer) -> None:
    try:
        scaler.unscale_(optimizer)
    except RuntimeError as error:
        if "already been called" not in str(error):
            raise


def _momentum(optimizer: Optimizer) -> dict[str, Any]:
    """Return the declaration of the optimizer's momentum."""
    group = optimizer.param_groups[0]
    if not group.get("momentum"):
        return {}
    return {"update_rule": "nesterov" if group["nesterov"] else "momentum", "momentum": group["momentum"]}


def _refuse_waiting(*, batch: str, scaler: Any, upcoming: bool, process_group: Any) -> None:
    """Refuse what would wait all the same."""
    if batch == "mini":
        raise ValueError("asynchronous=True with mini-batches: bursts on one batch need the answer in time")
    if scaler is not None:
        raise ValueError("asynchronous=True with a GradScaler: the scaler waits for the device itself")
    if upcoming:
        raise ValueError("asynchronous=True with upcoming=True: upcoming rates need no waiting, choose one")
    if process_group is not None:
        raise ValueError("asynchronous=True with a process_group: the ranks wait for each other anyway")


def _refuse_unsupported(optimizer: Optimizer, mini: bool) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not a torch.optim.Optimizer")
    if any(hasattr(p, "to_local") for group in optimizer.param_groups for p in group["params"]):
        raise UnsupportedOptimizerError(
            "parameters sharded by fully_shard (DTensor) are not offered yet: give the optimizer plain "
            "tensors, this rank's shards, with shard=(offset, dimension), or use DistributedDataParallel"
        )
    if isinstance(optimizer, SGD):
        return
    if type(optimizer) is not torch.optim.SGD:
        raise UnsupportedOptimizerError(
            f"{type(optimizer).__name__} does not apply the gradient as it is, and rates for preconditioned "
            "updates are not offered yet: use torch.optim.SGD, or multirate.torch.SGD, whose precondition() "
            "does what a diagonal does"
        )
    wrong = {
        "dampening": "leave it 0",
        "maximize": "minimise the negative instead",
    }
    if not mini:
        wrong["momentum"] = "leave it 0, the schedule makes up for the momentum; mini-batches may have it"
    if len({(group["momentum"], group["nesterov"]) for group in optimizer.param_groups}) > 1:
        raise UnsupportedOptimizerError("param groups of different momentum: give all the same")
    for group in optimizer.param_groups:
        for option, advice in wrong.items():
            if group.get(option):
                raise UnsupportedOptimizerError(
                    f"torch.optim.SGD with {option}={group[option]} is not offered yet: {advice}"
                )
