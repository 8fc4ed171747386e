"""Learning rates that know the curvature: the Python client of the multirate service.

A trainer declares its run once, and then, at every step, hands over its loss
and its gradient and gets the learning rate for ``x -= rate * gradient``:

>>> import multirate  # doctest: +SKIP
>>> client = multirate.start().connect()  # doctest: +SKIP
>>> run = client.new_run(multirate.RunConfig(dimension=x.size, loss_lower_bound=0))  # doctest: +SKIP
>>> x -= run.rate(loss, g).learning_rate * g  # doctest: +SKIP

``multirate.torch`` has a learning rate scheduler for PyTorch.
"""

from multirate.advice import Advice
from multirate.client import Client
from multirate.errors import (
    DimensionError,
    InvalidRequestError,
    MultirateError,
    NotFiniteError,
    NotOfferedError,
    RunExistsError,
    RunNotFoundError,
    ServiceError,
    ServiceUnavailableError,
    SidecarError,
    SnapshotError,
    StepAnsweredError,
    UnsupportedOptimizerError,
    VersionError,
    Violation,
)
from multirate.run import Run, RunConfig, statistics
from multirate.sidecar import Sidecar, find_binary, start
from multirate.sketch import Sketcher, signs
from multirate.steady import ServiceLostWarning, SteadyRun

__all__ = [
    "Advice",
    "Client",
    "DimensionError",
    "InvalidRequestError",
    "MultirateError",
    "NotFiniteError",
    "NotOfferedError",
    "Run",
    "RunConfig",
    "RunExistsError",
    "RunNotFoundError",
    "ServiceError",
    "ServiceLostWarning",
    "ServiceUnavailableError",
    "Sidecar",
    "SidecarError",
    "Sketcher",
    "SnapshotError",
    "SteadyRun",
    "StepAnsweredError",
    "UnsupportedOptimizerError",
    "VersionError",
    "Violation",
    "find_binary",
    "signs",
    "start",
    "statistics",
]
