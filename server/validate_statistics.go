package server

import (
	"fmt"
	"math"

	pb "multirate/proto/multirate/v1"
)

const trainerOverflow = "a loss or gradient that overflowed can't be learned from; skip the step or go back to a checkpoint"

// report is one step's statistics, from any of the RPCs that carry them.
type report struct {
	step       int64
	statistics *pb.Statistics
	applied    []float64
	// asked tells that the trainer will see the answer.
	asked bool
}

// validateReport checks everything that does not depend on earlier steps. It
// returns the gradient's sketch, nil when there is none.
func (d *declaration) validateReport(rep *report) ([]float32, error) {
	var v violations
	if rep.step < 0 {
		v.add(ReasonNegativeStep, "step", "is %d, must be >= 0: count steps from 0", rep.step)
	}
	if rep.statistics == nil {
		v.add(ReasonRequired, "statistics", "is missing: send at least gradient_norm_squared, and a sketch for more than a safe rate")
		return nil, v.err()
	}
	st := rep.statistics
	if st.Loss != nil {
		v.finite("statistics.loss", *st.Loss, trainerOverflow)
	}
	if st.GradientNormSquared == nil {
		v.add(ReasonRequired, "statistics.gradient_norm_squared", "is missing: send the squared Euclidean norm of the gradient")
	} else {
		v.nonNegative("statistics.gradient_norm_squared", *st.GradientNormSquared, trainerOverflow)
	}
	if st.GradientDotPrevious != nil {
		v.finite("statistics.gradient_dot_previous", *st.GradientDotPrevious, trainerOverflow)
	}
	if st.ParameterNorm != nil {
		v.nonNegative("statistics.parameter_norm", *st.ParameterNorm, "send the Euclidean norm of the parameters")
	}
	sketch := d.validateSketches(&v, st.Sketches)
	d.validateApplied(&v, rep.applied)
	return sketch, v.err()
}

func (d *declaration) validateSketches(v *violations, sketches []*pb.Sketch) (gradient []float32) {
	parts := false
	for i, s := range sketches {
		switch s.GetKind() {
		case pb.SketchKind_SKETCH_KIND_UNSPECIFIED, pb.SketchKind_SKETCH_KIND_GRADIENT:
			if gradient != nil {
				v.add(ReasonDuplicate, sketchField(i, "kind"), "is a second sketch of the gradient: send one, the sum of all ranks' and micro-batches'")
			}
			if s.ParamGroup != nil {
				v.add(ReasonNotApplicable, sketchField(i, "param_group"),
					"is %d, but this run shares one spectrum among its groups: send one sketch of all parameters", *s.ParamGroup)
			}
			if s.GetPart() != 0 {
				v.add(ReasonOutOfRange, sketchField(i, "part"), "is %d, must be 0 for the whole gradient: leave it absent", s.GetPart())
			}
			gradient = s.GetValues()
		case pb.SketchKind_SKETCH_KIND_APPLIED_UPDATE:
			v.add(ReasonNotApplicable, sketchField(i, "kind"),
				"is that of an applied update, but the run's update rule is gradient descent: leave the sketch out")
		case pb.SketchKind_SKETCH_KIND_BATCH_PART:
			parts = true
		default:
			v.add(ReasonOutOfRange, sketchField(i, "kind"), "is %d, which this server does not know: leave the sketch out", s.GetKind())
		}
		d.validateValues(v, i, s.GetValues())
	}
	if parts {
		d.validateParts(v, sketches)
	}
	return gradient
}

func (d *declaration) validateValues(v *violations, i int, values []float32) {
	if len(values) != d.sketch {
		v.add(ReasonWrongDimension, sketchField(i, "values"),
			"has %d numbers, the run declared a sketch of %d: send that many or declare another run", len(values), d.sketch)
		return
	}
	for j, x := range values {
		// NaN and the infinities are the numbers with all exponent bits set.
		if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
			v.add(ReasonNotFinite, sketchField(i, fmt.Sprintf("values[%d]", j)), "is %v, must be finite: %s", x, trainerOverflow)
			return
		}
	}
}

// validateParts demands, for each param group, parts numbered 0 to n-1 with
// n >= 2: a single part tells nothing of noise.
func (d *declaration) validateParts(v *violations, sketches []*pb.Sketch) {
	type key struct{ group, part int32 }
	seen, count := map[key]bool{}, map[int32]int32{}
	for i, s := range sketches {
		if s.GetKind() != pb.SketchKind_SKETCH_KIND_BATCH_PART {
			continue
		}
		group := int32(-1)
		if s.ParamGroup != nil {
			group = *s.ParamGroup
			v.within(sketchField(i, "param_group"), int64(group), 0, int64(len(d.groups)-1), "name a declared group by its index")
		}
		k := key{group, s.GetPart()}
		if seen[k] {
			v.add(ReasonDuplicate, sketchField(i, "part"), "%d was sent twice: number the parts of a batch from 0", k.part)
		}
		seen[k] = true
		count[group]++
	}
	for i, s := range sketches {
		if s.GetKind() != pb.SketchKind_SKETCH_KIND_BATCH_PART {
			continue
		}
		group := int32(-1)
		if s.ParamGroup != nil {
			group = *s.ParamGroup
		}
		if n := count[group]; n < 2 || s.GetPart() < 0 || s.GetPart() >= n {
			v.add(ReasonOutOfRange, sketchField(i, "part"), "is %d of %d: send at least two equal parts of the batch, numbered from 0", s.GetPart(), n)
		}
	}
}

func sketchField(i int, name string) string {
	return fmt.Sprintf("statistics.sketches[%d].%s", i, name)
}

func (d *declaration) validateApplied(v *violations, applied []float64) {
	if len(applied) == 0 {
		return
	}
	if len(applied) != len(d.groups) {
		v.add(ReasonWrongDimension, "applied_learning_rates", "has %d rates, the run has %d param groups: send one for each, or none",
			len(applied), len(d.groups))
		return
	}
	for i, x := range applied {
		if !(x >= 0 && x <= math.MaxFloat64) {
			v.nonNegative(fmt.Sprintf("applied_learning_rates[%d]", i), x, "send the rate really applied, 0 for a skipped step")
		} else if x != applied[0] {
			v.add(ReasonNotApplicable, fmt.Sprintf("applied_learning_rates[%d]", i),
				"is %v and that of group 0 is %v, but this run shares one rate among its groups: apply one rate to all", x, applied[0])
		}
	}
}
