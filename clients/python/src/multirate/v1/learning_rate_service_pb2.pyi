import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from multirate.v1 import run_pb2 as _run_pb2
from multirate.v1 import spectrum_pb2 as _spectrum_pb2
from multirate.v1 import statistics_pb2 as _statistics_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_PLANNED: _ClassVar[Reason]
    REASON_DAMPING: _ClassVar[Reason]
    REASON_WARMUP: _ClassVar[Reason]
    REASON_FALLBACK: _ClassVar[Reason]
    REASON_RECOVERY: _ClassVar[Reason]

class Guard(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GUARD_UNSPECIFIED: _ClassVar[Guard]
    GUARD_NONE: _ClassVar[Guard]
    GUARD_PREDICTED_LOSS: _ClassVar[Guard]
    GUARD_TRUST_REGION: _ClassVar[Guard]
    GUARD_LOSS_BOUND: _ClassVar[Guard]
    GUARD_WARMUP_GROWTH: _ClassVar[Guard]
    GUARD_MAX_LEARNING_RATE: _ClassVar[Guard]
REASON_UNSPECIFIED: Reason
REASON_PLANNED: Reason
REASON_DAMPING: Reason
REASON_WARMUP: Reason
REASON_FALLBACK: Reason
REASON_RECOVERY: Reason
GUARD_UNSPECIFIED: Guard
GUARD_NONE: Guard
GUARD_PREDICTED_LOSS: Guard
GUARD_TRUST_REGION: Guard
GUARD_LOSS_BOUND: Guard
GUARD_WARMUP_GROWTH: Guard
GUARD_MAX_LEARNING_RATE: Guard

class CreateRunRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: _run_pb2.Run
    def __init__(self, run: _Optional[_Union[_run_pb2.Run, _Mapping]] = ...) -> None: ...

class CreateRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: _run_pb2.Run
    def __init__(self, run: _Optional[_Union[_run_pb2.Run, _Mapping]] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: _run_pb2.Run
    def __init__(self, run: _Optional[_Union[_run_pb2.Run, _Mapping]] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[_run_pb2.Run]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[_run_pb2.Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class DeleteRunResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLearningRateRequest(_message.Message):
    __slots__ = ("run_id", "step", "statistics", "applied_learning_rates")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_LEARNING_RATES_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    step: int
    statistics: _statistics_pb2.Statistics
    applied_learning_rates: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, run_id: _Optional[str] = ..., step: _Optional[int] = ..., statistics: _Optional[_Union[_statistics_pb2.Statistics, _Mapping]] = ..., applied_learning_rates: _Optional[_Iterable[float]] = ...) -> None: ...

class GetLearningRateResponse(_message.Message):
    __slots__ = ("step", "rates", "upcoming", "explanation", "spectrum_revision", "estimate_wanted", "hold_batch_steps", "upcoming_loss_limit")
    STEP_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    UPCOMING_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    SPECTRUM_REVISION_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_WANTED_FIELD_NUMBER: _ClassVar[int]
    HOLD_BATCH_STEPS_FIELD_NUMBER: _ClassVar[int]
    UPCOMING_LOSS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    step: int
    rates: _containers.RepeatedCompositeFieldContainer[ParamGroupRate]
    upcoming: _containers.RepeatedCompositeFieldContainer[UpcomingRates]
    explanation: Explanation
    spectrum_revision: int
    estimate_wanted: bool
    hold_batch_steps: int
    upcoming_loss_limit: float
    def __init__(self, step: _Optional[int] = ..., rates: _Optional[_Iterable[_Union[ParamGroupRate, _Mapping]]] = ..., upcoming: _Optional[_Iterable[_Union[UpcomingRates, _Mapping]]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., spectrum_revision: _Optional[int] = ..., estimate_wanted: _Optional[bool] = ..., hold_batch_steps: _Optional[int] = ..., upcoming_loss_limit: _Optional[float] = ...) -> None: ...

class StreamLearningRatesRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: GetLearningRateRequest
    def __init__(self, request: _Optional[_Union[GetLearningRateRequest, _Mapping]] = ...) -> None: ...

class StreamLearningRatesResponse(_message.Message):
    __slots__ = ("response",)
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    response: GetLearningRateResponse
    def __init__(self, response: _Optional[_Union[GetLearningRateResponse, _Mapping]] = ...) -> None: ...

class ParamGroupRate(_message.Message):
    __slots__ = ("param_group", "learning_rate", "momentum")
    PARAM_GROUP_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    param_group: str
    learning_rate: float
    momentum: float
    def __init__(self, param_group: _Optional[str] = ..., learning_rate: _Optional[float] = ..., momentum: _Optional[float] = ...) -> None: ...

class UpcomingRates(_message.Message):
    __slots__ = ("learning_rates",)
    LEARNING_RATES_FIELD_NUMBER: _ClassVar[int]
    learning_rates: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, learning_rates: _Optional[_Iterable[float]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("reason", "guard", "scale_index", "scale_count", "cycle_position", "cycle_length", "predicted_loss_change", "stiffest_curvature", "text")
    REASON_FIELD_NUMBER: _ClassVar[int]
    GUARD_FIELD_NUMBER: _ClassVar[int]
    SCALE_INDEX_FIELD_NUMBER: _ClassVar[int]
    SCALE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CYCLE_POSITION_FIELD_NUMBER: _ClassVar[int]
    CYCLE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_LOSS_CHANGE_FIELD_NUMBER: _ClassVar[int]
    STIFFEST_CURVATURE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    reason: Reason
    guard: Guard
    scale_index: int
    scale_count: int
    cycle_position: int
    cycle_length: int
    predicted_loss_change: float
    stiffest_curvature: float
    text: str
    def __init__(self, reason: _Optional[_Union[Reason, str]] = ..., guard: _Optional[_Union[Guard, str]] = ..., scale_index: _Optional[int] = ..., scale_count: _Optional[int] = ..., cycle_position: _Optional[int] = ..., cycle_length: _Optional[int] = ..., predicted_loss_change: _Optional[float] = ..., stiffest_curvature: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class ReportStatisticsRequest(_message.Message):
    __slots__ = ("run_id", "step", "statistics", "applied_learning_rates")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_LEARNING_RATES_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    step: int
    statistics: _statistics_pb2.Statistics
    applied_learning_rates: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, run_id: _Optional[str] = ..., step: _Optional[int] = ..., statistics: _Optional[_Union[_statistics_pb2.Statistics, _Mapping]] = ..., applied_learning_rates: _Optional[_Iterable[float]] = ...) -> None: ...

class ReportStatisticsResponse(_message.Message):
    __slots__ = ("applied_count", "latest_step")
    APPLIED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LATEST_STEP_FIELD_NUMBER: _ClassVar[int]
    applied_count: int
    latest_step: int
    def __init__(self, applied_count: _Optional[int] = ..., latest_step: _Optional[int] = ...) -> None: ...

class ReportLanczosRequest(_message.Message):
    __slots__ = ("run_id", "coefficients", "further")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    COEFFICIENTS_FIELD_NUMBER: _ClassVar[int]
    FURTHER_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    coefficients: _spectrum_pb2.LanczosCoefficients
    further: _containers.RepeatedCompositeFieldContainer[_spectrum_pb2.LanczosCoefficients]
    def __init__(self, run_id: _Optional[str] = ..., coefficients: _Optional[_Union[_spectrum_pb2.LanczosCoefficients, _Mapping]] = ..., further: _Optional[_Iterable[_Union[_spectrum_pb2.LanczosCoefficients, _Mapping]]] = ...) -> None: ...

class ReportLanczosResponse(_message.Message):
    __slots__ = ("spectrum",)
    SPECTRUM_FIELD_NUMBER: _ClassVar[int]
    spectrum: _spectrum_pb2.Spectrum
    def __init__(self, spectrum: _Optional[_Union[_spectrum_pb2.Spectrum, _Mapping]] = ...) -> None: ...

class EstimateSpectrumRequest(_message.Message):
    __slots__ = ("start", "product", "attached", "shared_product")
    START_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    SHARED_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    start: EstimateSpectrumStart
    product: _statistics_pb2.VectorChunk
    attached: SharedMemoryAttached
    shared_product: SharedVector
    def __init__(self, start: _Optional[_Union[EstimateSpectrumStart, _Mapping]] = ..., product: _Optional[_Union[_statistics_pb2.VectorChunk, _Mapping]] = ..., attached: _Optional[_Union[SharedMemoryAttached, _Mapping]] = ..., shared_product: _Optional[_Union[SharedVector, _Mapping]] = ...) -> None: ...

class EstimateSpectrumStart(_message.Message):
    __slots__ = ("run_id", "max_products", "format", "chunk_elements", "seed", "probes", "cold_start", "shared_memory")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    COLD_START_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    max_products: int
    format: _statistics_pb2.VectorFormat
    chunk_elements: int
    seed: int
    probes: int
    cold_start: bool
    shared_memory: bool
    def __init__(self, run_id: _Optional[str] = ..., max_products: _Optional[int] = ..., format: _Optional[_Union[_statistics_pb2.VectorFormat, str]] = ..., chunk_elements: _Optional[int] = ..., seed: _Optional[int] = ..., probes: _Optional[int] = ..., cold_start: _Optional[bool] = ..., shared_memory: _Optional[bool] = ...) -> None: ...

class SharedMemory(_message.Message):
    __slots__ = ("token", "bytes", "product_offset")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    token: bytes
    bytes: int
    product_offset: int
    def __init__(self, token: _Optional[bytes] = ..., bytes: _Optional[int] = ..., product_offset: _Optional[int] = ...) -> None: ...

class SharedMemoryAttached(_message.Message):
    __slots__ = ("ok",)
    OK_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    def __init__(self, ok: _Optional[bool] = ...) -> None: ...

class SharedVector(_message.Message):
    __slots__ = ("vector", "block_crc32c")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    BLOCK_CRC32C_FIELD_NUMBER: _ClassVar[int]
    vector: int
    block_crc32c: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, vector: _Optional[int] = ..., block_crc32c: _Optional[_Iterable[int]] = ...) -> None: ...

class EstimateSpectrumResponse(_message.Message):
    __slots__ = ("probe", "progress", "spectrum", "shared_memory", "shared_probe")
    PROBE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SPECTRUM_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_FIELD_NUMBER: _ClassVar[int]
    SHARED_PROBE_FIELD_NUMBER: _ClassVar[int]
    probe: _statistics_pb2.VectorChunk
    progress: EstimateSpectrumProgress
    spectrum: _spectrum_pb2.Spectrum
    shared_memory: SharedMemory
    shared_probe: SharedVector
    def __init__(self, probe: _Optional[_Union[_statistics_pb2.VectorChunk, _Mapping]] = ..., progress: _Optional[_Union[EstimateSpectrumProgress, _Mapping]] = ..., spectrum: _Optional[_Union[_spectrum_pb2.Spectrum, _Mapping]] = ..., shared_memory: _Optional[_Union[SharedMemory, _Mapping]] = ..., shared_probe: _Optional[_Union[SharedVector, _Mapping]] = ...) -> None: ...

class EstimateSpectrumProgress(_message.Message):
    __slots__ = ("products", "max_products", "largest_ritz_value", "smallest_ritz_value", "kept_vectors")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    MAX_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_RITZ_VALUE_FIELD_NUMBER: _ClassVar[int]
    SMALLEST_RITZ_VALUE_FIELD_NUMBER: _ClassVar[int]
    KEPT_VECTORS_FIELD_NUMBER: _ClassVar[int]
    products: int
    max_products: int
    largest_ritz_value: float
    smallest_ritz_value: float
    kept_vectors: int
    def __init__(self, products: _Optional[int] = ..., max_products: _Optional[int] = ..., largest_ritz_value: _Optional[float] = ..., smallest_ritz_value: _Optional[float] = ..., kept_vectors: _Optional[int] = ...) -> None: ...

class GetSpectrumRequest(_message.Message):
    __slots__ = ("run_id", "density_points")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DENSITY_POINTS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    density_points: int
    def __init__(self, run_id: _Optional[str] = ..., density_points: _Optional[int] = ...) -> None: ...

class GetSpectrumResponse(_message.Message):
    __slots__ = ("spectrum",)
    SPECTRUM_FIELD_NUMBER: _ClassVar[int]
    spectrum: _spectrum_pb2.Spectrum
    def __init__(self, spectrum: _Optional[_Union[_spectrum_pb2.Spectrum, _Mapping]] = ...) -> None: ...

class WatchRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class WatchRunResponse(_message.Message):
    __slots__ = ("time", "missed_count", "step", "spectrum", "restored", "deleted")
    TIME_FIELD_NUMBER: _ClassVar[int]
    MISSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SPECTRUM_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    missed_count: int
    step: StepEvent
    spectrum: _spectrum_pb2.Spectrum
    restored: RestoredEvent
    deleted: DeletedEvent
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., missed_count: _Optional[int] = ..., step: _Optional[_Union[StepEvent, _Mapping]] = ..., spectrum: _Optional[_Union[_spectrum_pb2.Spectrum, _Mapping]] = ..., restored: _Optional[_Union[RestoredEvent, _Mapping]] = ..., deleted: _Optional[_Union[DeletedEvent, _Mapping]] = ...) -> None: ...

class StepEvent(_message.Message):
    __slots__ = ("advice", "loss", "gradient_norm_squared")
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_NORM_SQUARED_FIELD_NUMBER: _ClassVar[int]
    advice: GetLearningRateResponse
    loss: float
    gradient_norm_squared: float
    def __init__(self, advice: _Optional[_Union[GetLearningRateResponse, _Mapping]] = ..., loss: _Optional[float] = ..., gradient_norm_squared: _Optional[float] = ...) -> None: ...

class RestoredEvent(_message.Message):
    __slots__ = ("latest_step",)
    LATEST_STEP_FIELD_NUMBER: _ClassVar[int]
    latest_step: int
    def __init__(self, latest_step: _Optional[int] = ...) -> None: ...

class DeletedEvent(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SnapshotRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class SnapshotRunResponse(_message.Message):
    __slots__ = ("snapshot", "latest_step")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    LATEST_STEP_FIELD_NUMBER: _ClassVar[int]
    snapshot: bytes
    latest_step: int
    def __init__(self, snapshot: _Optional[bytes] = ..., latest_step: _Optional[int] = ...) -> None: ...

class RestoreRunRequest(_message.Message):
    __slots__ = ("snapshot", "run_id", "overwrite")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    snapshot: bytes
    run_id: str
    overwrite: bool
    def __init__(self, snapshot: _Optional[bytes] = ..., run_id: _Optional[str] = ..., overwrite: _Optional[bool] = ...) -> None: ...

class RestoreRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: _run_pb2.Run
    def __init__(self, run: _Optional[_Union[_run_pb2.Run, _Mapping]] = ...) -> None: ...
