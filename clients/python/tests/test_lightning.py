"""Lightning trains at the rates of a plain loop, and resumes with the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from multirate import Client, MultirateError
from multirate.torch import MultirateLR

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lightning.pytorch as lightning
    from lightning.pytorch.callbacks import Callback, ModelCheckpoint

    from multirate.lightning import MultirateCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on loaders and loggers


def data() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 8, generator=generator, dtype=torch.float64)
    x[:, :4] *= 10
    return TensorDataset(x, torch.randint(0, 3, (64,), generator=generator))


class Module(lightning.LightningModule):
    def __init__(self, momentum: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(
                torch.nn.Linear(8, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)
            ).double()
        self.momentum = momentum

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        return torch.nn.functional.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=self.momentum)


class Record(Callback):
    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step > len(self.rates) + self.skipped:
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        self.skipped = trainer.global_step


def fit(
    callback: MultirateCallback,
    folder: Path,
    *,
    epochs: int,
    batch_size: int = 64,
    resume: Path | None = None,
    module: Module | None = None,
    **options: Any,
) -> list[float]:
    record = Record()
    keep = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, every_n_epochs=1)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[record, callback, keep],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module or Module(), DataLoader(data(), batch_size), ckpt_path=resume)
    return record.rates


def plain(client: Client, steps: int) -> list[float]:
    module = Module()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    scheduler = MultirateLR(optimizer, client, loss_lower_bound=0)
    rates = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = module.training_step(data().tensors, 0)
        loss.backward()
        scheduler.step(loss)
        optimizer.step()
        rates.append(float(scheduler.get_last_lr()[0]))
    return rates


def test_full_batches_take_the_rates_of_a_plain_loop(client: Client, tmp_path: Path) -> None:
    callback = MultirateCallback(client, batch="full", loss_lower_bound=0)
    module = Module()
    rates = fit(callback, tmp_path, epochs=25, module=module)
    assert rates == plain(client, 25)
    assert callback.scheduler is not None
    assert callback.scheduler.run.step == 25
    assert "training_step" not in vars(module)


def test_full_batches_resume_with_the_same_bits(client: Client, tmp_path: Path) -> None:
    whole = fit(MultirateCallback(client, batch="full", loss_lower_bound=0), tmp_path, epochs=20)
    for epoch in (0, 7, 13):
        rest = fit(
            MultirateCallback(client, batch="full", loss_lower_bound=0),
            tmp_path / "resumed",
            epochs=20,
            resume=tmp_path / f"epoch={epoch}.ckpt",
        )
        assert rest == whole[epoch + 1 :]


def test_accumulated_gradients_are_of_the_whole_batch(client: Client, tmp_path: Path) -> None:
    callback = MultirateCallback(client, batch="full", loss_lower_bound=0)
    rates = fit(callback, tmp_path, epochs=6, batch_size=16, accumulate_grad_batches=4)
    assert rates == pytest.approx(plain(client, 6), rel=1e-8)  # float64 sums in another order


@pytest.fixture(scope="module")
def mini(sidecar: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[float]]]:
    folder = tmp_path_factory.mktemp("mini")
    with sidecar.connect() as client:
        callback = MultirateCallback(client, loss_lower_bound=0, horizon_steps=60)
        yield folder, fit(callback, folder, epochs=30, batch_size=32, module=Module(0.9))


def test_mini_batches_are_held(client: Client, tmp_path: Path) -> None:
    callback = MultirateCallback(client, loss_lower_bound=0)
    seen: list[int] = []

    class Watched(Module):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            seen.append(int(batch[0][0, 0] != data().tensors[0][0, 0]))
            return super().training_step(batch, batch_idx)

    fit(callback, tmp_path, epochs=30, batch_size=32, module=Watched(0.9))
    assert callback.scheduler is not None
    spectrum = callback.scheduler.run.spectrum()
    assert spectrum is not None
    assert any(len(set(seen[i : i + 7])) == 1 for i in range(len(seen) - 6)), seen


@pytest.mark.parametrize(("epoch", "held"), [(0, True), (2, True), (3, False), (22, False), (24, True)])
def test_mini_batches_resume_with_the_same_bits(
    client: Client, tmp_path: Path, mini: tuple[Path, list[float]], epoch: int, held: bool
) -> None:
    folder, whole = mini
    callback = MultirateCallback(client, loss_lower_bound=0, horizon_steps=60)
    at = folder / f"epoch={epoch}.ckpt"
    state = torch.load(at, weights_only=True)["callbacks"]["MultirateCallback"]
    assert bool(state["batches"]["held"]) == held
    rest = fit(callback, tmp_path, epochs=30, batch_size=32, module=Module(0.9), resume=at)
    assert rest == whole[2 * (epoch + 1) :]


def test_what_changes_the_gradient_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(MultirateError, match="gradient clipping: leave gradient_clip_val out"):
        fit(MultirateCallback(client), tmp_path, epochs=1, gradient_clip_val=1.0)
