"""The Hugging Face trainer trains at the rates of a plain loop, and resumes with the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from multirate import Client, MultirateError, UnsupportedOptimizerError
from multirate.torch import MultirateLR

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers
    from transformers import Trainer, TrainingArguments

    from multirate.transformers import MultirateCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # of loaders without a GPU to pin memory for


def model() -> Any:
    """A transformer of 1,700 parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make: Any = transformers.BertConfig  # not all that it takes is in its signature
        config = make(
            vocab_size=32,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=8,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=3,
            attn_implementation="eager",
        )
        return transformers.BertForSequenceClassification(config).double()


def data() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 32, (32, 6), generator=generator)
    return [{"input_ids": t, "labels": int(t.sum()) % 3} for t in tokens]


class Record(transformers.TrainerCallback):
    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_optimizer_step(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


def trainer_of(folder: Path, steps: int, batch_size: int = 32, **options: Any) -> Trainer:
    args = TrainingArguments(
        str(folder),
        per_device_train_batch_size=batch_size,
        max_steps=steps,
        save_steps=1,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_steps=1,
        **{"optim": "sgd", "max_grad_norm": 0.0, **options},
    )
    trainer = Trainer(model(), args, train_dataset=data())
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def rates_of(trainer: Trainer, resume: Path | None = None) -> list[float]:
    record = Record()
    trainer.add_callback(record)
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return record.rates


def plain(client: Client, trainer: Trainer, steps: int) -> list[float]:
    trained: Any = trainer.model
    optimizer = trainer.create_optimizer()
    scheduler = MultirateLR(optimizer, client, loss_lower_bound=0)
    tokens = torch.stack([row["input_ids"] for row in data()])
    labels = torch.tensor([row["labels"] for row in data()])
    rates = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = trained(input_ids=tokens, labels=labels).loss
        loss.backward()
        scheduler.step(loss)
        optimizer.step()
        rates.append(float(scheduler.get_last_lr()[0]))
    return rates


@pytest.mark.parametrize("accumulated", [1, 4])
def test_full_batches_take_the_rates_of_a_plain_loop(
    client: Client, tmp_path: Path, accumulated: int
) -> None:
    trainer = trainer_of(tmp_path, 8, 32 // accumulated, gradient_accumulation_steps=accumulated)
    callback = MultirateCallback(trainer, client, batch="full", loss_lower_bound=0)
    trainer.add_callback(callback)
    trainer.loss_is_scaled_for_ga = False  # the model's is the mean of its batch
    rates = rates_of(trainer)
    # Shuffled: sums in another order.
    assert rates == pytest.approx(plain(client, trainer_of(tmp_path, 8), 8), rel=1e-6)
    assert callback.scheduler is not None
    assert callback.scheduler.run.step == 8
    logged = [row["learning_rate"] for row in trainer.state.log_history if "learning_rate" in row]
    assert logged == rates


@pytest.fixture(scope="module", params=["full", "mini"])
def trained(
    sidecar: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Path, list[float], str]]:
    folder = tmp_path_factory.mktemp(request.param)
    with sidecar.connect() as client:
        trainer = trainer_of(folder, 16, 32 if request.param == "full" else 8)
        trainer.add_callback(MultirateCallback(trainer, client, batch=request.param, loss_lower_bound=0))
        yield folder, rates_of(trainer), request.param


@pytest.mark.parametrize("step", [1, 5, 8])
def test_training_resumes_with_the_same_bits(
    client: Client, tmp_path: Path, trained: tuple[Path, list[float], str], step: int
) -> None:
    folder, whole, batch = trained
    at = folder / f"checkpoint-{step}"
    state = torch.load(at / "scheduler.pt", weights_only=True)
    assert bool(state["batches"]["held"]) == (batch == "mini" and step < 7)
    trainer = trainer_of(tmp_path, 16, 32 if batch == "full" else 8)
    trainer.add_callback(MultirateCallback(trainer, client, batch=batch, loss_lower_bound=0))
    assert rates_of(trainer, at) == whole[step:]


def test_what_changes_the_gradient_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(MultirateError, match=r"gradient clipping: give TrainingArguments\(max_grad_norm=0\)"):
        MultirateCallback(trainer_of(tmp_path, 1, max_grad_norm=1.0), client)


def test_another_optimizer_is_refused(client: Client, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, 1, optim="adamw_torch")
    trainer.add_callback(MultirateCallback(trainer, client))
    with pytest.raises(UnsupportedOptimizerError, match="AdamW"):
        trainer.train()
