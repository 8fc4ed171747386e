import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GroupMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GROUP_MODE_UNSPECIFIED: _ClassVar[GroupMode]
    GROUP_MODE_SHARED: _ClassVar[GroupMode]
    GROUP_MODE_INDEPENDENT: _ClassVar[GroupMode]

class Policy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POLICY_UNSPECIFIED: _ClassVar[Policy]
    POLICY_ADAPTIVE: _ClassVar[Policy]
    POLICY_CONSTANT: _ClassVar[Policy]
    POLICY_MRGD: _ClassVar[Policy]
    POLICY_CHEBYSHEV: _ClassVar[Policy]

class UpdateRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPDATE_RULE_UNSPECIFIED: _ClassVar[UpdateRule]
    UPDATE_RULE_GRADIENT_DESCENT: _ClassVar[UpdateRule]
    UPDATE_RULE_MOMENTUM: _ClassVar[UpdateRule]
    UPDATE_RULE_NESTEROV: _ClassVar[UpdateRule]
    UPDATE_RULE_PRECONDITIONED: _ClassVar[UpdateRule]

class BatchKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BATCH_KIND_UNSPECIFIED: _ClassVar[BatchKind]
    BATCH_KIND_FULL: _ClassVar[BatchKind]
    BATCH_KIND_MINI: _ClassVar[BatchKind]
GROUP_MODE_UNSPECIFIED: GroupMode
GROUP_MODE_SHARED: GroupMode
GROUP_MODE_INDEPENDENT: GroupMode
POLICY_UNSPECIFIED: Policy
POLICY_ADAPTIVE: Policy
POLICY_CONSTANT: Policy
POLICY_MRGD: Policy
POLICY_CHEBYSHEV: Policy
UPDATE_RULE_UNSPECIFIED: UpdateRule
UPDATE_RULE_GRADIENT_DESCENT: UpdateRule
UPDATE_RULE_MOMENTUM: UpdateRule
UPDATE_RULE_NESTEROV: UpdateRule
UPDATE_RULE_PRECONDITIONED: UpdateRule
BATCH_KIND_UNSPECIFIED: BatchKind
BATCH_KIND_FULL: BatchKind
BATCH_KIND_MINI: BatchKind

class Run(_message.Message):
    __slots__ = ("run_id", "dimension", "param_groups", "group_mode", "policy", "update_rule", "momentum", "weight_decay", "batch_kind", "sketch", "loss_lower_bound", "max_loss_growth", "horizon_steps", "fallback_learning_rate", "max_learning_rate", "window", "labels", "create_time", "latest_step", "spectrum_revision")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    PARAM_GROUPS_FIELD_NUMBER: _ClassVar[int]
    GROUP_MODE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_RULE_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    BATCH_KIND_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_LOWER_BOUND_FIELD_NUMBER: _ClassVar[int]
    MAX_LOSS_GROWTH_FIELD_NUMBER: _ClassVar[int]
    HORIZON_STEPS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    MAX_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    LATEST_STEP_FIELD_NUMBER: _ClassVar[int]
    SPECTRUM_REVISION_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    dimension: int
    param_groups: _containers.RepeatedCompositeFieldContainer[ParamGroup]
    group_mode: GroupMode
    policy: Policy
    update_rule: UpdateRule
    momentum: float
    weight_decay: float
    batch_kind: BatchKind
    sketch: SketchSpec
    loss_lower_bound: float
    max_loss_growth: float
    horizon_steps: int
    fallback_learning_rate: float
    max_learning_rate: float
    window: int
    labels: _containers.ScalarMap[str, str]
    create_time: _timestamp_pb2.Timestamp
    latest_step: int
    spectrum_revision: int
    def __init__(self, run_id: _Optional[str] = ..., dimension: _Optional[int] = ..., param_groups: _Optional[_Iterable[_Union[ParamGroup, _Mapping]]] = ..., group_mode: _Optional[_Union[GroupMode, str]] = ..., policy: _Optional[_Union[Policy, str]] = ..., update_rule: _Optional[_Union[UpdateRule, str]] = ..., momentum: _Optional[float] = ..., weight_decay: _Optional[float] = ..., batch_kind: _Optional[_Union[BatchKind, str]] = ..., sketch: _Optional[_Union[SketchSpec, _Mapping]] = ..., loss_lower_bound: _Optional[float] = ..., max_loss_growth: _Optional[float] = ..., horizon_steps: _Optional[int] = ..., fallback_learning_rate: _Optional[float] = ..., max_learning_rate: _Optional[float] = ..., window: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., latest_step: _Optional[int] = ..., spectrum_revision: _Optional[int] = ...) -> None: ...

class ParamGroup(_message.Message):
    __slots__ = ("name", "size")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class SketchSpec(_message.Message):
    __slots__ = ("dimension", "seed")
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    dimension: int
    seed: int
    def __init__(self, dimension: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...
