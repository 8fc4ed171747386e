package server

import (
	"context"
	"errors"
	"fmt"
	"math"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"multirate/estimator"
	journalv1 "multirate/proto/multirate/journal/v1"
	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
)

const (
	maxDensityPoints = 512
	maxCoefficients  = 4096
	// maxProbes are the random start vectors of one estimate.
	maxProbes = 64
)

// GetSpectrum implements the RPC of that name.
func (s *Server) GetSpectrum(ctx context.Context, req *pb.GetSpectrumRequest) (*pb.GetSpectrumResponse, error) {
	r, err := s.lookup(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	var v violations
	if v.within("density_points", int64(req.GetDensityPoints()), 0, maxDensityPoints, "0 means no density"); len(v.list) > 0 {
		return nil, v.err()
	}
	if err := r.lock(); err != nil {
		return nil, err
	}
	spectrum, revision := r.controller.Spectrum()
	noise, noisy := r.controller.Noise()
	step := r.spectrumStep
	scales := estimator.DetectScales(spectrum)
	stability := r.controller.Stability(scales)
	r.mu.Unlock()
	if !spectrum.Known() {
		return nil, refusef(codes.NotFound, ReasonNoSpectrum, "nothing is known of the spectrum of run %q yet: "+
			"send sketches with a few steps, or call ReportLanczos or EstimateSpectrum", r.id)
	}
	message := spectrumMessage(spectrum, scales, revision, step)
	setStability(message, stability)
	if scale := noise.Scale(); noisy && isFinite(scale) {
		message.NoiseScale = proto.Float64(scale)
	}
	message.Density = density(spectrum, int(req.GetDensityPoints()))
	return &pb.GetSpectrumResponse{Spectrum: message}, nil
}

// ReportLanczos implements the RPC of that name.
func (s *Server) ReportLanczos(ctx context.Context, req *pb.ReportLanczosRequest) (*pb.ReportLanczosResponse, error) {
	r, err := s.lookup(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	if err := r.lock(); err != nil {
		return nil, err
	}
	life, dimension := r.life, r.decl.run.Dimension
	r.mu.Unlock()
	probes := append([]*pb.LanczosCoefficients{req.GetCoefficients()}, req.GetFurther()...)
	if err := validateProbes(probes, dimension); err != nil {
		return nil, err
	}
	bytes := 0.0
	for _, c := range probes {
		bytes += estimator.SpectrumBytes(len(c.Alpha))
	}
	release, err := s.reserve(r.id, int64(bytes), "send fewer coefficients")
	if err != nil {
		return nil, err
	}
	defer release()
	spectrum, err := spectrumOfProbes(probes, dimension)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, interrupted(ctx)
	}
	message, err := r.adopt(life, s, dimension, spectrum)
	if err != nil {
		return nil, err
	}
	return &pb.ReportLanczosResponse{Spectrum: message}, nil
}

// validateProbes checks the coefficients of all runs, and that all Ritz values
// together are no more than one run may have.
func validateProbes(probes []*pb.LanczosCoefficients, dimension int64) error {
	var v violations
	if v.within("further", int64(len(probes)-1), 0, maxProbes-1, "counts the runs beside the first"); len(v.list) > 0 {
		return v.err()
	}
	total := 0
	for i, c := range probes {
		if err := validateCoefficients(probeField(i), c, dimension); err != nil {
			return err
		}
		total += len(c.Alpha)
	}
	if total > maxCoefficients {
		v.add(ReasonOutOfRange, "further", "and coefficients have %d alphas together, at most %d are allowed: send fewer runs or stop Lanczos earlier", total, maxCoefficients)
	}
	return v.err()
}

func probeField(i int) string {
	if i == 0 {
		return "coefficients"
	}
	return fmt.Sprintf("further[%d]", i-1)
}

// spectrumOfProbes joins the spectra of valid coefficients.
func spectrumOfProbes(probes []*pb.LanczosCoefficients, dimension int64) (estimator.Spectrum, error) {
	runs := make([]estimator.Spectrum, len(probes))
	for i, c := range probes {
		var err error
		if runs[i], err = estimator.FromCoefficients(c.Alpha, c.Beta, dimension); err != nil {
			return estimator.Spectrum{}, estimatorError(probeField(i), err)
		}
	}
	spectrum, err := estimator.JoinProbes(runs...)
	if err != nil {
		return estimator.Spectrum{}, coreError(err)
	}
	return spectrum, nil
}

func validateCoefficients(field string, c *pb.LanczosCoefficients, dimension int64) error {
	var v violations
	k := len(c.GetAlpha())
	switch {
	case k == 0:
		v.add(ReasonRequired, field+".alpha", "is empty: send the diagonal of the tridiagonal matrix, 1 to %d numbers", maxCoefficients)
	case k > maxCoefficients:
		v.add(ReasonOutOfRange, field+".alpha", "has %d numbers, at most %d are allowed: stop Lanczos earlier", k, maxCoefficients)
	case int64(k) > dimension:
		v.add(ReasonWrongDimension, field+".alpha", "has %d numbers, more than the run's dimension %d: stop Lanczos at breakdown", k, dimension)
	}
	if n := len(c.GetBeta()); k > 0 && n != k && n != k-1 {
		v.add(ReasonWrongDimension, field+".beta", "has %d numbers beside %d of alpha: send %d, or %d with the last residual norm", n, k, k-1, k)
	}
	if err := v.err(); err != nil {
		return err
	}
	for i, x := range c.Alpha {
		if !isFinite(x) {
			v.finite(fmt.Sprintf("%s.alpha[%d]", field, i), x, trainerOverflow)
		}
	}
	for i, x := range c.Beta {
		if !(x >= 0 && x <= math.MaxFloat64) {
			v.nonNegative(fmt.Sprintf("%s.beta[%d]", field, i), x, "send norms")
		}
	}
	return v.err()
}

// estimatorError translates an error of the estimator; field is what it was
// made from.
func estimatorError(field string, err error) error {
	if errors.Is(err, estimator.ErrNotFinite) {
		return refuseField(codes.InvalidArgument, ReasonNotFinite, field, "can't be used, %v: scale the loss down", err)
	}
	return refuseField(codes.InvalidArgument, ReasonProductsUnusable, field, "can't be used, %v: check the Hessian-vector products", err)
}

// adopt hands the controller a spectrum from products, if the run's life has
// not ended since the work on it began.
func (r *run) adopt(life context.Context, s *Server, dimension int64, spectrum estimator.Spectrum) (*pb.Spectrum, error) {
	spectrum.Dimension = dimension
	scales := estimator.DetectScales(spectrum)
	message := spectrumMessage(spectrum, scales, 0, -1)
	if err := r.lockAlive(life); err != nil {
		return nil, err
	}
	config := r.controller.Config()
	r.mu.Unlock()
	plan, err := scheduler.NewPlan(config, spectrum) // without the lock: rates go on meanwhile
	if err != nil {
		return nil, refusef(codes.FailedPrecondition, ReasonSpectrumUnusable,
			"no rate can be planned from this spectrum, %v: take more products, check their sign, or go on without it", err)
	}
	if err := r.lockAlive(life); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	if err := r.makeRoom(); err != nil {
		return nil, err
	}
	err = r.record(s.options.Now, &journalv1.Event{Change: &journalv1.Event_Adopted{Adopted: &journalv1.AdoptedEvent{
		Spectrum: &pb.Spectrum{
			Source: message.Source, RitzValues: message.RitzValues, Residual: message.Residual,
			StiffestCurvature: message.StiffestCurvature, Products: message.Products,
		},
	}}})
	if err != nil {
		return nil, journalError(r.id, err)
	}
	r.take(plan)
	message.Revision, message.Step = r.revision, stepOrAbsent(r.spectrumStep)
	setStability(message, r.controller.Stability(scales))
	if len(r.watchers) > 0 {
		r.publish(s.options.Now(), &pb.WatchRunResponse{Event: &pb.WatchRunResponse_Spectrum{Spectrum: message}})
	}
	return message, nil
}

var sources = map[estimator.Source]pb.SpectrumSource{
	estimator.SourceSketch:       pb.SpectrumSource_SPECTRUM_SOURCE_SKETCH,
	estimator.SourceLanczos:      pb.SpectrumSource_SPECTRUM_SOURCE_LANCZOS,
	estimator.SourceCoefficients: pb.SpectrumSource_SPECTRUM_SOURCE_COEFFICIENTS,
}

func spectrumMessage(s estimator.Spectrum, scales estimator.Scales, revision, step int64) *pb.Spectrum {
	m := &pb.Spectrum{
		Source:            sources[s.Source],
		RitzValues:        make([]*pb.RitzValue, len(s.Ritz)),
		Scales:            scaleMessages(scales, estimator.ScaleEdges(s)),
		Residual:          s.Residual,
		StiffestCurvature: s.Stiffest,
		Products:          int32(s.Products),
		Revision:          revision,
		Step:              stepOrAbsent(step),
	}
	for i, v := range s.Ritz {
		m.RitzValues[i] = &pb.RitzValue{
			Value: v.Value, Weight: v.Weight, Bound: v.Bound, Probe: int32(v.Probe), Age: v.Age, Noise: v.Noise,
		}
	}
	if s.Source == estimator.SourceSketch {
		return m
	}
	m.Probes = int32(s.Probes())
	m.NegativeMass, m.NearZeroMass = measure(s.NegativeMass()), measure(s.NearZeroMass())
	if trace, ok := s.Trace(); ok {
		m.Trace, m.TraceStandardError = proto.Float64(trace.Value), proto.Float64(trace.StandardError)
	}
	return m
}

func measure(m estimator.Measure) *pb.Measure {
	return &pb.Measure{Value: m.Value, StandardError: m.StandardError}
}

func scaleMessages(scales estimator.Scales, edges []estimator.Edges) []*pb.Scale {
	messages := make([]*pb.Scale, len(scales.Groups))
	for i, g := range scales.Groups {
		messages[i] = &pb.Scale{
			Lowest: g.Lo, Highest: g.Hi, Count: int32(g.Count), Weight: g.Weight,
			LowestEdge: edge(edges[i].Low), HighestEdge: edge(edges[i].High),
		}
		if i+1 < len(scales.Groups) {
			messages[i].Gap = scales.Gap(i)
			messages[i].GapConfidence = scales.Confidence[i]
		}
	}
	return messages
}

func edge(e estimator.Edge) *pb.ScaleEdge {
	return &pb.ScaleEdge{Estimate: e.Estimate, Least: e.Least, Most: e.Most}
}

// setStability fills in the scales' scores, one each, if there are any.
func setStability(m *pb.Spectrum, scores []float64) {
	for i, v := range scores {
		m.Scales[i].Stability = proto.Float64(v)
	}
}

// density is the estimator's, on so many points.
func density(s estimator.Spectrum, points int) []*pb.DensityPoint {
	var out []*pb.DensityPoint
	for _, b := range s.Density(points) {
		out = append(out, &pb.DensityPoint{Lower: b.Lower, Upper: b.Upper, Mass: b.Mass.Value, StandardError: b.Mass.StandardError})
	}
	return out
}
