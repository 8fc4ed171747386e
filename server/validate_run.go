package server

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
)

const (
	maxDimension   = 1 << 40
	maxParamGroups = 1024
	maxLabels      = 64
	maxLabelBytes  = 256
	maxNameRunes   = 128
	minSketch      = 15
	maxSketch      = 4095
	minWindow      = 4
	maxWindow      = 64
	leaveAbsent    = "leave it absent"
)

// declaration is a validated Run with its defaults filled in, and what the hot
// path needs of it. It is never written to.
type declaration struct {
	run    *pb.Run // without output-only fields
	groups []string
	sketch int
	mini   bool
	config scheduler.Config
}

// declare validates a declaration and fills its defaults in. It keeps no
// reference to r.
func declare(r *pb.Run) (*declaration, error) {
	if r == nil {
		var v violations
		v.add(ReasonRequired, "run", "is missing: declare the run, at least its dimension")
		return nil, v.err()
	}
	if err := offered(r); err != nil {
		return nil, err
	}
	if err := validateRun(r); err != nil {
		return nil, err
	}
	r = proto.Clone(r).(*pb.Run)
	fillDefaults(r)
	d := &declaration{
		run:    r,
		groups: make([]string, max(1, len(r.ParamGroups))),
		sketch: int(r.Sketch.Dimension),
		mini:   r.BatchKind == pb.BatchKind_BATCH_KIND_MINI,
		config: configOf(r),
	}
	for i, g := range r.ParamGroups {
		d.groups[i] = g.Name
	}
	return d, nil
}

// offered refuses what the contract has room for and this server does not do.
func offered(r *pb.Run) error {
	refused := func(field string, what any, advice string) error {
		return refuseField(codes.Unimplemented, ReasonNotOffered, field, "%v is not offered yet: %s", what, advice)
	}
	switch r.GetUpdateRule() {
	case pb.UpdateRule_UPDATE_RULE_MOMENTUM, pb.UpdateRule_UPDATE_RULE_NESTEROV:
		if r.GetBatchKind() != pb.BatchKind_BATCH_KIND_MINI {
			return refused("run.update_rule", fmt.Sprintf("%v with full batches", r.GetUpdateRule()), "train with plain gradient descent, "+
				"x <- x - rate * gradient, and leave update_rule absent; the schedule makes up for the momentum")
		}
	case pb.UpdateRule_UPDATE_RULE_PRECONDITIONED:
		return refused("run.update_rule", r.GetUpdateRule(), "with a frozen diagonal, send sketches of the scaled gradient "+
			"and declare gradient descent")
	}
	if r.GetGroupMode() == pb.GroupMode_GROUP_MODE_INDEPENDENT {
		return refused("run.group_mode", r.GetGroupMode(), "use GROUP_MODE_SHARED, or declare one run for each param group")
	}
	if w := r.GetWeightDecay(); w > 0 {
		return refused("run.weight_decay", fmt.Sprintf("decoupled weight decay of %v", w),
			"add weight_decay/2 * |x|^2 to the loss, so that it is part of the gradient, and leave weight_decay absent")
	}
	return nil
}

func validateRun(r *pb.Run) error {
	var v violations
	if r.RunId != "" {
		v.runID("run.run_id", r.RunId)
	}
	if r.Dimension == 0 {
		v.add(ReasonRequired, "run.dimension", "is missing: send the number of trained parameters, 1 to 2^40")
	} else {
		v.within("run.dimension", r.Dimension, 1, maxDimension, "send the number of trained parameters")
	}
	validateGroups(&v, r)
	validateChoices(&v, r)
	validateBounds(&v, r)
	validateLabels(&v, "run.labels", r.Labels)
	validateOutputOnly(&v, r)
	return v.err()
}

func validateGroups(v *violations, r *pb.Run) {
	if len(r.ParamGroups) == 0 {
		return
	}
	if len(r.ParamGroups) > maxParamGroups {
		v.add(ReasonOutOfRange, "run.param_groups", "has %d groups, at most %d are allowed: merge some",
			len(r.ParamGroups), maxParamGroups)
		return
	}
	names, sum, sized := make(map[string]bool, len(r.ParamGroups)), int64(0), true
	for i, g := range r.ParamGroups {
		field := fmt.Sprintf("run.param_groups[%d]", i)
		name := g.GetName()
		if n := utf8.RuneCountInString(name); n < 1 || n > maxNameRunes {
			v.add(ReasonOutOfRange, field+".name", "has %d characters, must have 1 to %d: choose another name", n, maxNameRunes)
		}
		if names[name] {
			v.add(ReasonDuplicate, field+".name", "%.140q is taken by an earlier group: names are unique in a run", name)
		}
		names[name] = true
		sized = v.within(field+".size", g.GetSize(), 1, maxDimension, "send the group's number of parameters") && sized
		sum += g.GetSize() // at most 2^10 * 2^40
	}
	if sized && sum != r.Dimension {
		v.add(ReasonWrongDimension, "run.dimension", "is %d, but the sizes of the param groups add up to %d: make them agree",
			r.Dimension, sum)
	}
}

// validateChoices checks enums and what depends on them.
func validateChoices(v *violations, r *pb.Run) {
	unknown := func(field string, n int32, names map[int32]string) {
		if _, ok := names[n]; !ok {
			v.add(ReasonOutOfRange, field, "is %d, which this server does not know: use a value of its version of the contract", n)
		}
	}
	unknown("run.group_mode", int32(r.GroupMode), pb.GroupMode_name)
	unknown("run.policy", int32(r.Policy), pb.Policy_name)
	unknown("run.update_rule", int32(r.UpdateRule), pb.UpdateRule_name)
	unknown("run.batch_kind", int32(r.BatchKind), pb.BatchKind_name)
	if r.Momentum != 0 && v.finite("run.momentum", r.Momentum, leaveAbsent) {
		switch {
		case !hasMomentum(r):
			v.add(ReasonNotApplicable, "run.momentum", "is %v, but the update rule is gradient descent: leave it absent, "+
				"or declare UPDATE_RULE_MOMENTUM or UPDATE_RULE_NESTEROV", r.Momentum)
		case r.Momentum < 0 || r.Momentum >= 1:
			v.add(ReasonOutOfRange, "run.momentum", "is %v, must be in [0, 1): send the trainer's", r.Momentum)
		}
	}
	v.nonNegative("run.weight_decay", r.WeightDecay, leaveAbsent)
	if r.BatchKind == pb.BatchKind_BATCH_KIND_MINI && r.FallbackLearningRate == nil {
		v.add(ReasonRequired, "run.fallback_learning_rate",
			"is missing: mini-batch runs need the rate that the trainer would use by itself")
	}
}

func hasMomentum(r *pb.Run) bool {
	return r.UpdateRule == pb.UpdateRule_UPDATE_RULE_MOMENTUM || r.UpdateRule == pb.UpdateRule_UPDATE_RULE_NESTEROV
}

func validateBounds(v *violations, r *pb.Run) {
	if d := r.GetSketch().GetDimension(); d != 0 && v.within("run.sketch.dimension", int64(d), minSketch, maxSketch, fmt.Sprintf("leave it absent for %d", defaults.SketchDimension)) && d%2 == 0 {
		v.add(ReasonOutOfRange, "run.sketch.dimension", "is %d, must be odd: use a prime such as 251 or 509", d)
	}
	if r.LossLowerBound != nil {
		v.finite("run.loss_lower_bound", *r.LossLowerBound, "leave it absent when no bound is known")
	}
	growth := fmt.Sprintf("leave it absent for %v", defaults.MaxLossGrowth)
	if g := r.MaxLossGrowth; g != nil && v.finite("run.max_loss_growth", *g, growth) && *g <= 1 {
		v.add(ReasonOutOfRange, "run.max_loss_growth", "is %v, must be > 1: %s", *g, growth)
	}
	if h := r.HorizonSteps; h != nil && *h < 1 {
		v.add(ReasonOutOfRange, "run.horizon_steps", "is %d, must be >= 1: leave it absent when it is not known", *h)
	}
	positive := func(field string, x *float64, advice string) {
		if x != nil && v.finite(field, *x, advice) && *x <= 0 {
			v.add(ReasonOutOfRange, field, "is %v, must be > 0: %s", *x, advice)
		}
	}
	positive("run.fallback_learning_rate", r.FallbackLearningRate, "send the rate that the trainer would use by itself")
	positive("run.max_learning_rate", r.MaxLearningRate, "leave it absent for no limit")
	if r.Window != nil {
		v.within("run.window", int64(*r.Window), minWindow, maxWindow, fmt.Sprintf("leave it absent for %d", defaults.Window))
	}
}

func validateLabels(v *violations, field string, labels map[string]string) {
	if len(labels) > maxLabels {
		v.add(ReasonOutOfRange, field, "has %d labels, at most %d are allowed: drop some", len(labels), maxLabels)
		return
	}
	for k, value := range labels {
		if len(k) > maxLabelBytes || len(value) > maxLabelBytes {
			v.add(ReasonOutOfRange, fmt.Sprintf("%s[%.40q]", field, k), "has a key of %d and a value of %d bytes, at most %d are allowed each: shorten them",
				len(k), len(value), maxLabelBytes)
		}
	}
}

func validateOutputOnly(v *violations, r *pb.Run) {
	outputOnly := func(field string, set bool) {
		if set {
			v.add(ReasonOutputOnly, field, "is set by the service: leave it absent")
		}
	}
	outputOnly("run.create_time", r.CreateTime != nil)
	outputOnly("run.latest_step", r.LatestStep != nil)
	outputOnly("run.spectrum_revision", r.SpectrumRevision != 0)
}

// defaults are the scheduler's, which the contract's comments state.
var defaults = func() scheduler.Config {
	c, err := scheduler.NewController(scheduler.Config{})
	if err != nil {
		panic(err) // the zero Config is documented to be valid
	}
	return c.Config()
}()

func fillDefaults(r *pb.Run) {
	r.GroupMode = pb.GroupMode_GROUP_MODE_SHARED
	if r.UpdateRule == pb.UpdateRule_UPDATE_RULE_UNSPECIFIED {
		r.UpdateRule = pb.UpdateRule_UPDATE_RULE_GRADIENT_DESCENT
	}
	if r.Policy == pb.Policy_POLICY_UNSPECIFIED {
		r.Policy = pb.Policy_POLICY_ADAPTIVE
	}
	if r.BatchKind == pb.BatchKind_BATCH_KIND_UNSPECIFIED {
		r.BatchKind = pb.BatchKind_BATCH_KIND_FULL
	}
	if r.Sketch == nil {
		r.Sketch = &pb.SketchSpec{}
	}
	if r.Sketch.Dimension == 0 {
		r.Sketch.Dimension = int32(defaults.SketchDimension)
	}
	if r.MaxLossGrowth == nil {
		r.MaxLossGrowth = proto.Float64(defaults.MaxLossGrowth)
	}
	if r.Window == nil {
		r.Window = proto.Int32(int32(defaults.Window))
	}
}

var policies = map[pb.Policy]scheduler.Policy{
	pb.Policy_POLICY_ADAPTIVE:  scheduler.PolicyAdaptive,
	pb.Policy_POLICY_CONSTANT:  scheduler.PolicyConstant,
	pb.Policy_POLICY_MRGD:      scheduler.PolicyMrGD,
	pb.Policy_POLICY_CHEBYSHEV: scheduler.PolicyChebyshev,
}

// configOf is what the controller needs of a declaration with its defaults
// filled in.
func configOf(r *pb.Run) scheduler.Config {
	return scheduler.Config{
		Policy:          policies[r.Policy],
		SketchDimension: int(r.Sketch.Dimension),
		Window:          int(r.GetWindow()),
		LossLowerBound:  r.GetLossLowerBound(),
		HasLossBound:    r.LossLowerBound != nil,
		MaxLossGrowth:   r.GetMaxLossGrowth(),
		FallbackRate:    r.GetFallbackLearningRate(),
		MaxRate:         r.GetMaxLearningRate(),
		Horizon:         r.GetHorizonSteps(),
		MiniBatch:       r.BatchKind == pb.BatchKind_BATCH_KIND_MINI,
		Momentum:        r.GetMomentum(),
		Nesterov:        r.UpdateRule == pb.UpdateRule_UPDATE_RULE_NESTEROV,
	}
}
