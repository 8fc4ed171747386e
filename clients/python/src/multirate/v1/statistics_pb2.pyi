from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SketchKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SKETCH_KIND_UNSPECIFIED: _ClassVar[SketchKind]
    SKETCH_KIND_GRADIENT: _ClassVar[SketchKind]
    SKETCH_KIND_APPLIED_UPDATE: _ClassVar[SketchKind]
    SKETCH_KIND_BATCH_PART: _ClassVar[SketchKind]

class VectorFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VECTOR_FORMAT_UNSPECIFIED: _ClassVar[VectorFormat]
    VECTOR_FORMAT_FLOAT32: _ClassVar[VectorFormat]
    VECTOR_FORMAT_FLOAT64: _ClassVar[VectorFormat]
    VECTOR_FORMAT_BFLOAT16: _ClassVar[VectorFormat]
SKETCH_KIND_UNSPECIFIED: SketchKind
SKETCH_KIND_GRADIENT: SketchKind
SKETCH_KIND_APPLIED_UPDATE: SketchKind
SKETCH_KIND_BATCH_PART: SketchKind
VECTOR_FORMAT_UNSPECIFIED: VectorFormat
VECTOR_FORMAT_FLOAT32: VectorFormat
VECTOR_FORMAT_FLOAT64: VectorFormat
VECTOR_FORMAT_BFLOAT16: VectorFormat

class Statistics(_message.Message):
    __slots__ = ("loss", "gradient_norm_squared", "gradient_dot_previous", "parameter_norm", "sketches", "batch_id")
    LOSS_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_NORM_SQUARED_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_DOT_PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_NORM_FIELD_NUMBER: _ClassVar[int]
    SKETCHES_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    loss: float
    gradient_norm_squared: float
    gradient_dot_previous: float
    parameter_norm: float
    sketches: _containers.RepeatedCompositeFieldContainer[Sketch]
    batch_id: int
    def __init__(self, loss: _Optional[float] = ..., gradient_norm_squared: _Optional[float] = ..., gradient_dot_previous: _Optional[float] = ..., parameter_norm: _Optional[float] = ..., sketches: _Optional[_Iterable[_Union[Sketch, _Mapping]]] = ..., batch_id: _Optional[int] = ...) -> None: ...

class Sketch(_message.Message):
    __slots__ = ("kind", "values", "part", "param_group")
    KIND_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PARAM_GROUP_FIELD_NUMBER: _ClassVar[int]
    kind: SketchKind
    values: _containers.RepeatedScalarFieldContainer[float]
    part: int
    param_group: int
    def __init__(self, kind: _Optional[_Union[SketchKind, str]] = ..., values: _Optional[_Iterable[float]] = ..., part: _Optional[int] = ..., param_group: _Optional[int] = ...) -> None: ...

class VectorChunk(_message.Message):
    __slots__ = ("vector", "index", "offset", "total", "data", "crc32c")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    vector: int
    index: int
    offset: int
    total: int
    data: bytes
    crc32c: int
    def __init__(self, vector: _Optional[int] = ..., index: _Optional[int] = ..., offset: _Optional[int] = ..., total: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...
