"""The client against the real service."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from multirate import (
    Client,
    DimensionError,
    InvalidRequestError,
    MultirateError,
    NotFiniteError,
    NotOfferedError,
    RunConfig,
    RunExistsError,
    RunNotFoundError,
    ServiceUnavailableError,
    SnapshotError,
    StepAnsweredError,
    VersionError,
    statistics,
)
from problems import EIGENVALUES, NARROW

CONFIG = RunConfig(EIGENVALUES.size, loss_lower_bound=0)


def descend(run: object, x: np.ndarray, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        g = EIGENVALUES * x
        advice = run.rate(float(g @ x) / 2, g)  # type: ignore[attr-defined]
        x -= advice.learning_rate * g
        rates.append(advice.learning_rate)
    return rates


def test_a_quadratic_of_two_scales_is_solved(client: Client) -> None:
    run, x = client.new_run(CONFIG), np.ones(EIGENVALUES.size)
    # A constant rate needs about 4000/2 ln(1e12)/2 = 28,000 steps.
    descend(run, x, 300)
    assert EIGENVALUES @ (x * x) / 2 < 1e-9
    assert run.last is not None
    assert run.last.scales == 2
    assert run.last.reason in ("planned", "damping")
    spectrum = run.spectrum(density_points=8)
    assert spectrum is not None
    # Nearer to the largest eigenvalue than to the next, 4 % below.
    assert spectrum.ritz_values[0].value == pytest.approx(4000, rel=0.02)


def test_the_same_declaration_is_the_same_run(client: Client) -> None:
    config = RunConfig(40, run_id="twice")
    run = client.new_run(config)
    descend(run, np.ones(40), 3)
    assert client.new_run(config).step == 3
    with pytest.raises(RunExistsError, match="twice"):
        client.new_run(RunConfig(41, run_id="twice"))


def test_snapshots_give_the_same_rates(client: Client) -> None:
    run, x = client.new_run(CONFIG), np.ones(40)
    descend(run, x, 40)
    snapshot, y = run.snapshot(), x.copy()
    went_on = descend(run, x, 60)
    again = client.restore_run(snapshot, "restored")
    assert descend(again, y, 60) == went_on
    run.restore(snapshot)
    assert run.step == 40


def test_a_rate_of_ones_own_is_declared(client: Client) -> None:
    run, x = client.new_run(CONFIG), np.ones(40)
    for _ in range(20):
        g = EIGENVALUES * x
        advice = run.rate(float(g @ x) / 2, g)
        run.applied(advice.learning_rate / 3)
        x -= advice.learning_rate / 3 * g
    spectrum = run.spectrum()
    assert spectrum is not None
    # Were the advised rates taken for the applied ones, it would be a third of this.
    assert 3000 < spectrum.ritz_values[0].value < 6000


def test_applied_before_any_step_is_an_error(client: Client) -> None:
    run = client.new_run(CONFIG)
    with pytest.raises(MultirateError, match="before any step"):
        run.applied(0.1)
    with pytest.raises(MultirateError, match="not a rate"):
        run.applied(-1)


def test_there_is_no_spectrum_before_there_is_one(client: Client) -> None:
    assert client.new_run(CONFIG).spectrum() is None


@pytest.mark.parametrize(
    ("config", "error", "field"),
    [
        (RunConfig(0), InvalidRequestError, "run.dimension"),
        (RunConfig(10, window=99), InvalidRequestError, "run.window"),
        (RunConfig(10, sketch_dimension=16), InvalidRequestError, "run.sketch.dimension"),
        (RunConfig(10, run_id="a b"), InvalidRequestError, "run.run_id"),
        (RunConfig(10, batch="mini"), InvalidRequestError, "run.fallback_learning_rate"),
        (RunConfig(10, update_rule="momentum", momentum=0.9), NotOfferedError, "run.update_rule"),
        (RunConfig(10, weight_decay=0.1), NotOfferedError, "run.weight_decay"),
    ],
)
def test_refusals_name_the_field(
    client: Client, config: RunConfig, error: type[Exception], field: str
) -> None:
    with pytest.raises(error) as caught:
        client.new_run(config)
    violations = caught.value.violations  # type: ignore[attr-defined]
    assert violations[0].field == field
    assert violations[0].description in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"), [("policy", "fastest"), ("batch", "half"), ("update_rule", "adam")]
)
def test_a_name_that_is_none_lists_those_that_are(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{value}.*use one of "):
        RunConfig(10, **{option: value}).declaration()  # type: ignore[arg-type]


def test_bad_measurements_are_refused_before_they_are_sent(client: Client) -> None:
    run = client.new_run(CONFIG)
    with pytest.raises(NotFiniteError, match="loss nan"):
        run.rate(float("nan"), np.ones(40))
    with pytest.raises(NotFiniteError, match="norm inf"):
        run.rate(1.0, np.full(40, np.inf))
    with pytest.raises(DimensionError, match="39 elements, the run is of 40"):
        run.rate(1.0, np.ones(39))
    assert run.step == 0
    with pytest.raises(InvalidRequestError, match=r"statistics.sketches\[0\].values"):
        run.advise(statistics(1.0, 1.0, np.ones(15)))


def test_a_step_is_answered_once(client: Client) -> None:
    run = client.new_run(CONFIG)
    first = run.rate(1.0, np.ones(40))
    run.step = 0
    assert run.rate(1.0, np.ones(40)) == first
    run.step = 0
    with pytest.raises(StepAnsweredError):
        run.rate(2.0, np.ones(40))


def test_a_run_that_was_deleted_is_not_found(client: Client) -> None:
    run = client.new_run(CONFIG)
    run.delete()
    run.delete()
    with pytest.raises(RunNotFoundError, match="CreateRun"):
        run.rate(1.0, np.ones(40))


def test_a_damaged_snapshot_and_one_of_another_version(client: Client) -> None:
    run = client.new_run(CONFIG)
    snapshot = bytearray(run.snapshot())
    snapshot[-1] ^= 1
    with pytest.raises(SnapshotError):
        client.restore_run(bytes(snapshot), "damaged")
    with pytest.raises(DimensionError, match="saved from"):
        run.load_state({**run.state(), "dimension": 7})


def test_a_method_that_the_service_does_not_know_is_of_another_version(client: Client) -> None:
    unknown = client.channel.unary_unary("/multirate.v1.LearningRateService/Foretell")  # type: ignore[var-annotated]
    client.methods["Foretell"] = lambda request, timeout: unknown(b"", timeout=timeout)
    with pytest.raises(VersionError, match="older than this client"):
        client.call("Foretell", None)


def test_nobody_there_is_told_with_what_to_do() -> None:
    target = f"unix://{Path(tempfile.mkdtemp()) / 'none'}"
    with pytest.raises(ServiceUnavailableError, match="multirate serve"):
        Client(target, timeout=0.2)


def test_upcoming_rates_are_taken_in_turn_and_while_the_loss_holds(client: Client) -> None:
    config = RunConfig(40, loss_lower_bound=0, policy="chebyshev")
    run, x = client.new_run(config, upcoming=True), np.ones(40)
    run.estimate_spectrum(lambda v: NARROW * v)
    sources = []
    for _ in range(60):
        g = NARROW * x
        loss = float(g @ x) / 2
        rate = run.take_upcoming(loss)
        sources.append("ahead" if rate is not None else "asked")
        if rate is None:
            rate = run.advise(statistics(loss, float(g @ g))).learning_rate
        x -= rate * g
    assert sources.count("ahead") > 30
    assert NARROW @ (x * x) < 1e-20
    assert run._ahead
    assert run.take_upcoming(float("nan")) is None
    assert run.take_upcoming(1e30) is None
