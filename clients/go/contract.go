package multirate

import multiratev1 "multirate/proto/multirate/v1"

// The contract's own types, under this package's name. Their fields, units and
// ranges are documented in proto/multirate/v1.
type (
	Policy      = multiratev1.Policy
	UpdateRule  = multiratev1.UpdateRule
	BatchKind   = multiratev1.BatchKind
	GroupMode   = multiratev1.GroupMode
	Reason      = multiratev1.Reason
	Guard       = multiratev1.Guard
	Spectrum    = multiratev1.Spectrum
	Statistics  = multiratev1.Statistics
	Progress    = multiratev1.EstimateSpectrumProgress
	ParamGroup  = multiratev1.ParamGroup
	Declaration = multiratev1.Run

	VectorFormat = multiratev1.VectorFormat
)

// Number formats of probes and products.
const (
	FormatFloat32  = multiratev1.VectorFormat_VECTOR_FORMAT_FLOAT32
	FormatFloat64  = multiratev1.VectorFormat_VECTOR_FORMAT_FLOAT64
	FormatBFloat16 = multiratev1.VectorFormat_VECTOR_FORMAT_BFLOAT16
)

// Ways of planning learning rates from scales.
const (
	PolicyAdaptive  = multiratev1.Policy_POLICY_ADAPTIVE
	PolicyConstant  = multiratev1.Policy_POLICY_CONSTANT
	PolicyMrGD      = multiratev1.Policy_POLICY_MRGD
	PolicyChebyshev = multiratev1.Policy_POLICY_CHEBYSHEV
)

// What the trainer does with the gradient and the rate.
const (
	RuleGradientDescent = multiratev1.UpdateRule_UPDATE_RULE_GRADIENT_DESCENT
	RuleMomentum        = multiratev1.UpdateRule_UPDATE_RULE_MOMENTUM
	RuleNesterov        = multiratev1.UpdateRule_UPDATE_RULE_NESTEROV
)

// What loss and gradient are of.
const (
	BatchFull = multiratev1.BatchKind_BATCH_KIND_FULL
	BatchMini = multiratev1.BatchKind_BATCH_KIND_MINI
)

// Kinds of steps.
const (
	ReasonPlanned  = multiratev1.Reason_REASON_PLANNED
	ReasonDamping  = multiratev1.Reason_REASON_DAMPING
	ReasonWarmup   = multiratev1.Reason_REASON_WARMUP
	ReasonFallback = multiratev1.Reason_REASON_FALLBACK
	ReasonRecovery = multiratev1.Reason_REASON_RECOVERY
)
