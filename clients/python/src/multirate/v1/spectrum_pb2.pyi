from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SpectrumSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPECTRUM_SOURCE_UNSPECIFIED: _ClassVar[SpectrumSource]
    SPECTRUM_SOURCE_SKETCH: _ClassVar[SpectrumSource]
    SPECTRUM_SOURCE_LANCZOS: _ClassVar[SpectrumSource]
    SPECTRUM_SOURCE_COEFFICIENTS: _ClassVar[SpectrumSource]
SPECTRUM_SOURCE_UNSPECIFIED: SpectrumSource
SPECTRUM_SOURCE_SKETCH: SpectrumSource
SPECTRUM_SOURCE_LANCZOS: SpectrumSource
SPECTRUM_SOURCE_COEFFICIENTS: SpectrumSource

class Spectrum(_message.Message):
    __slots__ = ("source", "ritz_values", "scales", "residual", "stiffest_curvature", "products", "revision", "step", "trace", "density", "trace_standard_error", "negative_mass", "near_zero_mass", "probes", "noise_scale")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RITZ_VALUES_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    STIFFEST_CURVATURE_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    TRACE_STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_MASS_FIELD_NUMBER: _ClassVar[int]
    NEAR_ZERO_MASS_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    NOISE_SCALE_FIELD_NUMBER: _ClassVar[int]
    source: SpectrumSource
    ritz_values: _containers.RepeatedCompositeFieldContainer[RitzValue]
    scales: _containers.RepeatedCompositeFieldContainer[Scale]
    residual: float
    stiffest_curvature: float
    products: int
    revision: int
    step: int
    trace: float
    density: _containers.RepeatedCompositeFieldContainer[DensityPoint]
    trace_standard_error: float
    negative_mass: Measure
    near_zero_mass: Measure
    probes: int
    noise_scale: float
    def __init__(self, source: _Optional[_Union[SpectrumSource, str]] = ..., ritz_values: _Optional[_Iterable[_Union[RitzValue, _Mapping]]] = ..., scales: _Optional[_Iterable[_Union[Scale, _Mapping]]] = ..., residual: _Optional[float] = ..., stiffest_curvature: _Optional[float] = ..., products: _Optional[int] = ..., revision: _Optional[int] = ..., step: _Optional[int] = ..., trace: _Optional[float] = ..., density: _Optional[_Iterable[_Union[DensityPoint, _Mapping]]] = ..., trace_standard_error: _Optional[float] = ..., negative_mass: _Optional[_Union[Measure, _Mapping]] = ..., near_zero_mass: _Optional[_Union[Measure, _Mapping]] = ..., probes: _Optional[int] = ..., noise_scale: _Optional[float] = ...) -> None: ...

class Measure(_message.Message):
    __slots__ = ("value", "standard_error")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    value: float
    standard_error: float
    def __init__(self, value: _Optional[float] = ..., standard_error: _Optional[float] = ...) -> None: ...

class RitzValue(_message.Message):
    __slots__ = ("value", "weight", "bound", "probe", "age", "noise")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    value: float
    weight: float
    bound: float
    probe: int
    age: int
    noise: float
    def __init__(self, value: _Optional[float] = ..., weight: _Optional[float] = ..., bound: _Optional[float] = ..., probe: _Optional[int] = ..., age: _Optional[int] = ..., noise: _Optional[float] = ...) -> None: ...

class Scale(_message.Message):
    __slots__ = ("lowest", "highest", "count", "weight", "gap", "gap_confidence", "lowest_edge", "highest_edge", "stability")
    LOWEST_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    GAP_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    LOWEST_EDGE_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_EDGE_FIELD_NUMBER: _ClassVar[int]
    STABILITY_FIELD_NUMBER: _ClassVar[int]
    lowest: float
    highest: float
    count: int
    weight: float
    gap: float
    gap_confidence: float
    lowest_edge: ScaleEdge
    highest_edge: ScaleEdge
    stability: float
    def __init__(self, lowest: _Optional[float] = ..., highest: _Optional[float] = ..., count: _Optional[int] = ..., weight: _Optional[float] = ..., gap: _Optional[float] = ..., gap_confidence: _Optional[float] = ..., lowest_edge: _Optional[_Union[ScaleEdge, _Mapping]] = ..., highest_edge: _Optional[_Union[ScaleEdge, _Mapping]] = ..., stability: _Optional[float] = ...) -> None: ...

class ScaleEdge(_message.Message):
    __slots__ = ("estimate", "least", "most")
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    estimate: float
    least: float
    most: float
    def __init__(self, estimate: _Optional[float] = ..., least: _Optional[float] = ..., most: _Optional[float] = ...) -> None: ...

class DensityPoint(_message.Message):
    __slots__ = ("lower", "upper", "mass", "standard_error")
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    MASS_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    lower: float
    upper: float
    mass: float
    standard_error: float
    def __init__(self, lower: _Optional[float] = ..., upper: _Optional[float] = ..., mass: _Optional[float] = ..., standard_error: _Optional[float] = ...) -> None: ...

class LanczosCoefficients(_message.Message):
    __slots__ = ("alpha", "beta")
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    BETA_FIELD_NUMBER: _ClassVar[int]
    alpha: _containers.RepeatedScalarFieldContainer[float]
    beta: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, alpha: _Optional[_Iterable[float]] = ..., beta: _Optional[_Iterable[float]] = ...) -> None: ...
