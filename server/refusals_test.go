package server

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "multirate/proto/multirate/v1"
)

var nan, inf = math.NaN(), math.Inf(1)

// TestDeclarationsRefused: what CreateRun refuses.
func TestDeclarationsRefused(t *testing.T) {
	c := start(t, Options{})
	const invalid, unimplemented = codes.InvalidArgument, codes.Unimplemented
	groups := func(sizes ...int64) (g []*pb.ParamGroup) {
		for i, n := range sizes {
			g = append(g, &pb.ParamGroup{Name: fmt.Sprint("g", i), Size: n})
		}
		return g
	}
	for name, tt := range map[string]struct {
		change func(*pb.Run)
		want   refusal
	}{
		"id with a space":      {func(r *pb.Run) { r.RunId = "a b" }, refusal{invalid, ReasonInvalidFormat, "run.run_id"}},
		"id too long":          {func(r *pb.Run) { r.RunId = strings.Repeat("a", 129) }, refusal{invalid, ReasonInvalidFormat, "run.run_id"}},
		"no dimension":         {func(r *pb.Run) { r.Dimension = 0 }, refusal{invalid, ReasonRequired, "run.dimension"}},
		"dimension below 1":    {func(r *pb.Run) { r.Dimension = -1 }, refusal{invalid, ReasonOutOfRange, "run.dimension"}},
		"dimension above 2^40": {func(r *pb.Run) { r.Dimension = 1<<40 + 1 }, refusal{invalid, ReasonOutOfRange, "run.dimension"}},
		"groups that don't add up": {func(r *pb.Run) { r.ParamGroups = groups(1, 2) },
			refusal{invalid, ReasonWrongDimension, "run.dimension"}},
		"group without a size": {func(r *pb.Run) { r.ParamGroups = groups(15, 0) },
			refusal{invalid, ReasonOutOfRange, "run.param_groups[1].size"}},
		"group without a name": {func(r *pb.Run) { r.ParamGroups = []*pb.ParamGroup{{Size: 15}} },
			refusal{invalid, ReasonOutOfRange, "run.param_groups[0].name"}},
		"groups of one name": {func(r *pb.Run) { r.ParamGroups = groups(7, 8); r.ParamGroups[1].Name = "g0" },
			refusal{invalid, ReasonDuplicate, "run.param_groups[1].name"}},
		"too many groups": {func(r *pb.Run) { r.ParamGroups = make([]*pb.ParamGroup, 1025) },
			refusal{invalid, ReasonOutOfRange, "run.param_groups"}},
		"independent groups": {func(r *pb.Run) { r.GroupMode = pb.GroupMode_GROUP_MODE_INDEPENDENT },
			refusal{unimplemented, ReasonNotOffered, "run.group_mode"}},
		"momentum": {func(r *pb.Run) { r.UpdateRule, r.Momentum = pb.UpdateRule_UPDATE_RULE_MOMENTUM, 0.9 },
			refusal{unimplemented, ReasonNotOffered, "run.update_rule"}},
		"Nesterov": {func(r *pb.Run) { r.UpdateRule = pb.UpdateRule_UPDATE_RULE_NESTEROV },
			refusal{unimplemented, ReasonNotOffered, "run.update_rule"}},
		"preconditioned": {func(r *pb.Run) { r.UpdateRule = pb.UpdateRule_UPDATE_RULE_PRECONDITIONED },
			refusal{unimplemented, ReasonNotOffered, "run.update_rule"}},
		"momentum of one": {func(r *pb.Run) {
			r.BatchKind, r.FallbackLearningRate = pb.BatchKind_BATCH_KIND_MINI, proto.Float64(0.1)
			r.UpdateRule, r.Momentum = pb.UpdateRule_UPDATE_RULE_MOMENTUM, 1
		}, refusal{invalid, ReasonOutOfRange, "run.momentum"}},
		"momentum coefficient of gradient descent": {func(r *pb.Run) { r.Momentum = 0.9 },
			refusal{invalid, ReasonNotApplicable, "run.momentum"}},
		"weight decay":          {func(r *pb.Run) { r.WeightDecay = 0.1 }, refusal{unimplemented, ReasonNotOffered, "run.weight_decay"}},
		"weight decay below 0":  {func(r *pb.Run) { r.WeightDecay = -1 }, refusal{invalid, ReasonOutOfRange, "run.weight_decay"}},
		"weight decay NaN":      {func(r *pb.Run) { r.WeightDecay = nan }, refusal{invalid, ReasonNotFinite, "run.weight_decay"}},
		"unknown policy":        {func(r *pb.Run) { r.Policy = 99 }, refusal{invalid, ReasonOutOfRange, "run.policy"}},
		"unknown update rule":   {func(r *pb.Run) { r.UpdateRule = -1 }, refusal{invalid, ReasonOutOfRange, "run.update_rule"}},
		"even sketch":           {func(r *pb.Run) { r.Sketch.Dimension = 256 }, refusal{invalid, ReasonOutOfRange, "run.sketch.dimension"}},
		"sketch too small":      {func(r *pb.Run) { r.Sketch.Dimension = 13 }, refusal{invalid, ReasonOutOfRange, "run.sketch.dimension"}},
		"sketch too large":      {func(r *pb.Run) { r.Sketch.Dimension = 4097 }, refusal{invalid, ReasonOutOfRange, "run.sketch.dimension"}},
		"loss bound infinite":   {func(r *pb.Run) { r.LossLowerBound = &inf }, refusal{invalid, ReasonNotFinite, "run.loss_lower_bound"}},
		"growth of 1":           {func(r *pb.Run) { r.MaxLossGrowth = proto.Float64(1) }, refusal{invalid, ReasonOutOfRange, "run.max_loss_growth"}},
		"growth NaN":            {func(r *pb.Run) { r.MaxLossGrowth = &nan }, refusal{invalid, ReasonNotFinite, "run.max_loss_growth"}},
		"horizon of 0":          {func(r *pb.Run) { r.HorizonSteps = proto.Int64(0) }, refusal{invalid, ReasonOutOfRange, "run.horizon_steps"}},
		"fallback of 0":         {func(r *pb.Run) { r.FallbackLearningRate = proto.Float64(0) }, refusal{invalid, ReasonOutOfRange, "run.fallback_learning_rate"}},
		"largest rate infinite": {func(r *pb.Run) { r.MaxLearningRate = &inf }, refusal{invalid, ReasonNotFinite, "run.max_learning_rate"}},
		"window of 3":           {func(r *pb.Run) { r.Window = proto.Int32(3) }, refusal{invalid, ReasonOutOfRange, "run.window"}},
		"window of 65":          {func(r *pb.Run) { r.Window = proto.Int32(65) }, refusal{invalid, ReasonOutOfRange, "run.window"}},
		"mini-batches without a fallback": {func(r *pb.Run) { r.BatchKind = pb.BatchKind_BATCH_KIND_MINI },
			refusal{invalid, ReasonRequired, "run.fallback_learning_rate"}},
		"long label": {func(r *pb.Run) { r.Labels = map[string]string{"k": strings.Repeat("v", 257)} },
			refusal{invalid, ReasonOutOfRange, `run.labels["k"]`}},
		"too many labels": {func(r *pb.Run) {
			r.Labels = map[string]string{}
			for i := range 65 {
				r.Labels[fmt.Sprint(i)] = ""
			}
		}, refusal{invalid, ReasonOutOfRange, "run.labels"}},
		"create time": {func(r *pb.Run) { r.CreateTime = timestamppb.Now() }, refusal{invalid, ReasonOutputOnly, "run.create_time"}},
		"latest step": {func(r *pb.Run) { r.LatestStep = proto.Int64(0) }, refusal{invalid, ReasonOutputOnly, "run.latest_step"}},
		"revision":    {func(r *pb.Run) { r.SpectrumRevision = 1 }, refusal{invalid, ReasonOutputOnly, "run.spectrum_revision"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}}
			tt.change(r)
			_, err := c.CreateRun(t.Context(), &pb.CreateRunRequest{Run: r})
			wantRefusal(t, err, tt.want)
		})
	}
	_, err := c.CreateRun(t.Context(), &pb.CreateRunRequest{})
	wantRefusal(t, err, refusal{invalid, ReasonRequired, "run"})
	list, err := c.ListRuns(t.Context(), &pb.ListRunsRequest{})
	if err != nil || len(list.Runs) != 0 {
		t.Errorf("after refusals only, ListRuns = %v, %v", list, err)
	}
}

// TestCallsRefusedLeaveTheRun: every refusal on an existing run has its own
// code, reason and field, and leaves the run's state as it was, to the bit.
func TestCallsRefusedLeaveTheRun(t *testing.T) {
	c := start(t, Options{MaxRunBytes: 10_000})
	create(t, c, &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}, LossLowerBound: proto.Float64(0),
		ParamGroups: []*pb.ParamGroup{{Name: "a", Size: 7}, {Name: "b", Size: 8}}})
	create(t, c, &pb.Run{RunId: "big", Dimension: 1 << 40})
	create(t, c, &pb.Run{RunId: "fresh", Dimension: 3})
	tr := newTrainer("r", threeScales(), 15)
	tr.train(t, c, 6)
	before := snapshot(t, c, "r")

	const invalid, precondition = codes.InvalidArgument, codes.FailedPrecondition
	rate := func(change func(*pb.GetLearningRateRequest)) func(context.Context) error {
		return func(ctx context.Context) error {
			req := tr.request()
			change(req)
			_, err := c.GetLearningRate(ctx, req)
			return err
		}
	}
	sketches := func(s ...*pb.Sketch) func(context.Context) error {
		return rate(func(r *pb.GetLearningRateRequest) { r.Statistics.Sketches = append(r.Statistics.Sketches, s...) })
	}
	values := make([]float32, 15)
	part := func(n int32) *pb.Sketch {
		return &pb.Sketch{Kind: pb.SketchKind_SKETCH_KIND_BATCH_PART, Part: n, Values: values}
	}
	lanczos := func(alpha, beta []float64) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.ReportLanczos(ctx, &pb.ReportLanczosRequest{RunId: "r",
				Coefficients: &pb.LanczosCoefficients{Alpha: alpha, Beta: beta}})
			return err
		}
	}
	estimate := func(first *pb.EstimateSpectrumRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			stream, err := c.EstimateSpectrum(ctx)
			if err != nil {
				return err
			}
			if first != nil {
				_ = stream.Send(first) // its error comes from Recv
			}
			_ = stream.CloseSend()
			return lastError(stream.Recv)
		}
	}
	begin := func(s *pb.EstimateSpectrumStart) func(context.Context) error {
		return estimate(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{Start: s}})
	}
	list := func(r *pb.ListRunsRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := c.ListRuns(ctx, r); return err }
	}
	type request = pb.GetLearningRateRequest
	for name, tt := range map[string]struct {
		call func(context.Context) error
		want refusal
	}{
		"no run id":        {rate(func(r *request) { r.RunId = "" }), refusal{invalid, ReasonRequired, "run_id"}},
		"ill-formed id":    {rate(func(r *request) { r.RunId = "a/b" }), refusal{invalid, ReasonInvalidFormat, "run_id"}},
		"unknown run":      {rate(func(r *request) { r.RunId = "x" }), refusal{codes.NotFound, ReasonRunNotFound, ""}},
		"negative step":    {rate(func(r *request) { r.Step = -1 }), refusal{invalid, ReasonNegativeStep, "step"}},
		"earlier step":     {rate(func(r *request) { r.Step = 2 }), refusal{precondition, ReasonStepAnswered, "step"}},
		"other statistics": {rate(func(r *request) { r.Step = 5 }), refusal{precondition, ReasonStepAnswered, "statistics"}},
		"no statistics":    {rate(func(r *request) { r.Statistics = nil }), refusal{invalid, ReasonRequired, "statistics"}},
		"no norm": {rate(func(r *request) { r.Statistics.GradientNormSquared = nil }),
			refusal{invalid, ReasonRequired, "statistics.gradient_norm_squared"}},
		"negative norm": {rate(func(r *request) { r.Statistics.GradientNormSquared = proto.Float64(-1) }),
			refusal{invalid, ReasonOutOfRange, "statistics.gradient_norm_squared"}},
		"infinite norm": {rate(func(r *request) { r.Statistics.GradientNormSquared = &inf }),
			refusal{invalid, ReasonNotFinite, "statistics.gradient_norm_squared"}},
		"loss NaN": {rate(func(r *request) { r.Statistics.Loss = &nan }), refusal{invalid, ReasonNotFinite, "statistics.loss"}},
		"loss below its bound": {rate(func(r *request) { r.Statistics.Loss = proto.Float64(-1) }),
			refusal{invalid, ReasonOutOfRange, "statistics.loss"}},
		"product infinite": {rate(func(r *request) { r.Statistics.GradientDotPrevious = &inf }),
			refusal{invalid, ReasonNotFinite, "statistics.gradient_dot_previous"}},
		"parameter norm negative": {rate(func(r *request) { r.Statistics.ParameterNorm = proto.Float64(-2) }),
			refusal{invalid, ReasonOutOfRange, "statistics.parameter_norm"}},
		"sketch too short": {rate(func(r *request) { r.Statistics.Sketches[0].Values = values[:14] }),
			refusal{invalid, ReasonWrongDimension, "statistics.sketches[0].values"}},
		"sketch with NaN": {rate(func(r *request) { r.Statistics.Sketches[0].Values[3] = float32(nan) }),
			refusal{invalid, ReasonNotFinite, "statistics.sketches[0].values[3]"}},
		"sketch with -Inf": {rate(func(r *request) { r.Statistics.Sketches[0].Values[14] = float32(-inf) }),
			refusal{invalid, ReasonNotFinite, "statistics.sketches[0].values[14]"}},
		"two gradients": {sketches(&pb.Sketch{Values: values}), refusal{invalid, ReasonDuplicate, "statistics.sketches[1].kind"}},
		"gradient of a group": {rate(func(r *request) { r.Statistics.Sketches[0].ParamGroup = proto.Int32(0) }),
			refusal{invalid, ReasonNotApplicable, "statistics.sketches[0].param_group"}},
		"gradient's part": {rate(func(r *request) { r.Statistics.Sketches[0].Part = 1 }),
			refusal{invalid, ReasonOutOfRange, "statistics.sketches[0].part"}},
		"applied update": {sketches(&pb.Sketch{Kind: pb.SketchKind_SKETCH_KIND_APPLIED_UPDATE, Values: values}),
			refusal{invalid, ReasonNotApplicable, "statistics.sketches[1].kind"}},
		"unknown sketch": {sketches(&pb.Sketch{Kind: 77, Values: values}),
			refusal{invalid, ReasonOutOfRange, "statistics.sketches[1].kind"}},
		"half a half-batch": {sketches(part(0)), refusal{invalid, ReasonOutOfRange, "statistics.sketches[1].part"}},
		"part twice":        {sketches(part(0), part(0)), refusal{invalid, ReasonDuplicate, "statistics.sketches[2].part"}},
		"part left out":     {sketches(part(0), part(2)), refusal{invalid, ReasonOutOfRange, "statistics.sketches[2].part"}},
		"part of no group": {sketches(&pb.Sketch{Kind: pb.SketchKind_SKETCH_KIND_BATCH_PART, Values: values, ParamGroup: proto.Int32(2)}),
			refusal{invalid, ReasonOutOfRange, "statistics.sketches[1].param_group"}},
		"one rate for two groups": {rate(func(r *request) { r.AppliedLearningRates = []float64{1} }),
			refusal{invalid, ReasonWrongDimension, "applied_learning_rates"}},
		"negative rate": {rate(func(r *request) { r.AppliedLearningRates = []float64{-1, 1} }),
			refusal{invalid, ReasonOutOfRange, "applied_learning_rates[0]"}},
		"rate NaN": {rate(func(r *request) { r.AppliedLearningRates = []float64{1, nan} }),
			refusal{invalid, ReasonNotFinite, "applied_learning_rates[1]"}},
		"different rates": {rate(func(r *request) { r.AppliedLearningRates = []float64{1, 2} }),
			refusal{invalid, ReasonNotApplicable, "applied_learning_rates[1]"}},

		"spectrum of a fresh run": {func(ctx context.Context) error {
			_, err := c.GetSpectrum(ctx, &pb.GetSpectrumRequest{RunId: "fresh"})
			return err
		}, refusal{codes.NotFound, ReasonNoSpectrum, ""}},
		"density of 513 points": {func(ctx context.Context) error {
			_, err := c.GetSpectrum(ctx, &pb.GetSpectrumRequest{RunId: "r", DensityPoints: 513})
			return err
		}, refusal{invalid, ReasonOutOfRange, "density_points"}},

		"no coefficients":     {lanczos(nil, nil), refusal{invalid, ReasonRequired, "coefficients.alpha"}},
		"many coefficients":   {lanczos(make([]float64, 4097), nil), refusal{invalid, ReasonOutOfRange, "coefficients.alpha"}},
		"more than dimension": {lanczos(make([]float64, 16), make([]float64, 15)), refusal{invalid, ReasonWrongDimension, "coefficients.alpha"}},
		"betas too few":       {lanczos([]float64{1, 2, 3}, []float64{1}), refusal{invalid, ReasonWrongDimension, "coefficients.beta"}},
		"alpha NaN":           {lanczos([]float64{1, nan}, []float64{1}), refusal{invalid, ReasonNotFinite, "coefficients.alpha[1]"}},
		"beta negative":       {lanczos([]float64{1, 2}, []float64{-1}), refusal{invalid, ReasonOutOfRange, "coefficients.beta[0]"}},

		"too many runs": {func(ctx context.Context) error {
			run := &pb.LanczosCoefficients{Alpha: []float64{1}}
			_, err := c.ReportLanczos(ctx, &pb.ReportLanczosRequest{RunId: "r", Coefficients: run, Further: slices.Repeat([]*pb.LanczosCoefficients{run}, 64)})
			return err
		}, refusal{invalid, ReasonOutOfRange, "further"}},
		"a further run of nothing": {func(ctx context.Context) error {
			_, err := c.ReportLanczos(ctx, &pb.ReportLanczosRequest{RunId: "r",
				Coefficients: &pb.LanczosCoefficients{Alpha: []float64{1}}, Further: []*pb.LanczosCoefficients{{}}})
			return err
		}, refusal{invalid, ReasonRequired, "further[0].alpha"}},

		"nothing but negative curvature": {lanczos([]float64{-2}, []float64{0}), refusal{precondition, ReasonSpectrumUnusable, ""}},

		"estimate without a word": {estimate(nil), refusal{invalid, ReasonStartExpected, "start"}},
		"estimate without start": {estimate(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Product{Product: &pb.VectorChunk{}}}),
			refusal{invalid, ReasonStartExpected, "start"}},
		"estimate of nothing": {begin(&pb.EstimateSpectrumStart{RunId: "x"}), refusal{codes.NotFound, ReasonRunNotFound, ""}},
		"more products than dimension": {begin(&pb.EstimateSpectrumStart{RunId: "r", MaxProducts: 16}),
			refusal{invalid, ReasonOutOfRange, "start.max_products"}},
		"65 probes":      {begin(&pb.EstimateSpectrumStart{RunId: "r", Probes: 65}), refusal{invalid, ReasonOutOfRange, "start.probes"}},
		"unknown format": {begin(&pb.EstimateSpectrumStart{RunId: "r", Format: 9}), refusal{invalid, ReasonOutOfRange, "start.format"}},
		"chunks too large": {begin(&pb.EstimateSpectrumStart{RunId: "r", ChunkElements: 1<<20 + 1}),
			refusal{invalid, ReasonOutOfRange, "start.chunk_elements"}},
		"vector too large": {begin(&pb.EstimateSpectrumStart{RunId: "big"}), refusal{codes.ResourceExhausted, ReasonMemoryBudget, ""}},

		"page of 1001":     {list(&pb.ListRunsRequest{PageSize: 1001}), refusal{invalid, ReasonOutOfRange, "page_size"}},
		"negative page":    {list(&pb.ListRunsRequest{PageSize: -1}), refusal{invalid, ReasonOutOfRange, "page_size"}},
		"made-up token":    {list(&pb.ListRunsRequest{PageToken: "abc"}), refusal{invalid, ReasonInvalidFormat, "page_token"}},
		"made-up token id": {list(&pb.ListRunsRequest{PageToken: "MSAg"}), refusal{invalid, ReasonInvalidFormat, "page_token"}},

		"restore nothing": {func(ctx context.Context) error {
			_, err := c.RestoreRun(ctx, &pb.RestoreRunRequest{})
			return err
		}, refusal{invalid, ReasonRequired, "snapshot"}},
		"restore too much": {func(ctx context.Context) error {
			_, err := c.RestoreRun(ctx, &pb.RestoreRunRequest{Snapshot: make([]byte, 16<<20+1)})
			return err
		}, refusal{invalid, ReasonOutOfRange, "snapshot"}},
		"restore over": {func(ctx context.Context) error {
			_, err := c.RestoreRun(ctx, &pb.RestoreRunRequest{Snapshot: before.Snapshot})
			return err
		}, refusal{codes.AlreadyExists, ReasonRunExists, ""}},
		"restore to no name": {func(ctx context.Context) error {
			_, err := c.RestoreRun(ctx, &pb.RestoreRunRequest{Snapshot: before.Snapshot, RunId: "?"})
			return err
		}, refusal{invalid, ReasonInvalidFormat, "run_id"}},
		"declared otherwise": {func(ctx context.Context) error {
			_, err := c.CreateRun(ctx, &pb.CreateRunRequest{Run: &pb.Run{RunId: "r", Dimension: 15}})
			return err
		}, refusal{codes.AlreadyExists, ReasonRunExists, ""}},
		"delete nothing": {func(ctx context.Context) error {
			_, err := c.DeleteRun(ctx, &pb.DeleteRunRequest{RunId: "x"})
			return err
		}, refusal{codes.NotFound, ReasonRunNotFound, ""}},
		"watch nothing": {func(ctx context.Context) error {
			stream, err := c.WatchRun(ctx, &pb.WatchRunRequest{RunId: "x"})
			if err != nil {
				return err
			}
			return lastError(stream.Recv)
		}, refusal{codes.NotFound, ReasonRunNotFound, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, tt.call(t.Context()), tt.want)
			if after := snapshot(t, c, "r"); !bytes.Equal(before.Snapshot, after.Snapshot) {
				t.Error("the run has changed")
			}
		})
	}
	// The run is not only unchanged, it goes on.
	tr.train(t, c, 1)
}

// TestManyViolations: all are named, up to a bound on the reply's size.
func TestManyViolations(t *testing.T) {
	var v violations
	for i := range 50 {
		v.add(ReasonRequired, fmt.Sprint("f", i), "is missing: send it")
	}
	err := v.err()
	if !strings.HasSuffix(err.Error(), "f0 is missing: send it (and 49 more)") {
		t.Error(err)
	}
	wantRefusal(t, err, refusal{codes.InvalidArgument, ReasonRequired, "f0"})
}
