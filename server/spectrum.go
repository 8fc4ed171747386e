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
	step, dimension := r.spectrumStep, r.decl.run.Dimension
	r.mu.Unlock()
	if !spectrum.Known() {
		return nil, refusef(codes.NotFound, ReasonNoSpectrum, "nothing is known of the spectrum of run %q yet: "+
			"send sketches with a few steps, or call ReportLanczos or EstimateSpectrum", r.id)
	}
	message := spectrumMessage(spectrum, revision, step, dimension)
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
	c := req.GetCoefficients()
	if err := validateCoefficients(c, dimension); err != nil {
		return nil, err
	}
	release, err := s.reserve(r.id, int64(estimator.SpectrumBytes(len(c.Alpha))), "send fewer coefficients")
	if err != nil {
		return nil, err
	}
	defer release()
	spectrum, err := estimator.FromCoefficients(c.Alpha, c.Beta, dimension)
	if err != nil {
		return nil, estimatorError("coefficients", err)
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

func validateCoefficients(c *pb.LanczosCoefficients, dimension int64) error {
	var v violations
	k := len(c.GetAlpha())
	switch {
	case k == 0:
		v.add(ReasonRequired, "coefficients.alpha", "is empty: send the diagonal of the tridiagonal matrix, 1 to %d numbers", maxCoefficients)
	case k > maxCoefficients:
		v.add(ReasonOutOfRange, "coefficients.alpha", "has %d numbers, at most %d are allowed: stop Lanczos earlier", k, maxCoefficients)
	case int64(k) > dimension:
		v.add(ReasonWrongDimension, "coefficients.alpha", "has %d numbers, more than the run's dimension %d: stop Lanczos at breakdown", k, dimension)
	}
	if n := len(c.GetBeta()); k > 0 && n != k && n != k-1 {
		v.add(ReasonWrongDimension, "coefficients.beta", "has %d numbers beside %d of alpha: send %d, or %d with the last residual norm", n, k, k-1, k)
	}
	if err := v.err(); err != nil {
		return err
	}
	for i, x := range c.Alpha {
		if !isFinite(x) {
			v.finite(fmt.Sprintf("coefficients.alpha[%d]", i), x, trainerOverflow)
		}
	}
	for i, x := range c.Beta {
		if !(x >= 0 && x <= math.MaxFloat64) {
			v.nonNegative(fmt.Sprintf("coefficients.beta[%d]", i), x, "send norms")
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
	message := spectrumMessage(spectrum, 0, -1, dimension)
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

func spectrumMessage(s estimator.Spectrum, revision, step, dimension int64) *pb.Spectrum {
	m := &pb.Spectrum{
		Source:            sources[s.Source],
		RitzValues:        make([]*pb.RitzValue, len(s.Ritz)),
		Scales:            scaleMessages(estimator.DetectScales(s)),
		Residual:          s.Residual,
		StiffestCurvature: s.Stiffest,
		Products:          int32(s.Products),
		Revision:          revision,
		Step:              stepOrAbsent(step),
	}
	mean := 0.0
	for i, v := range s.Ritz {
		m.RitzValues[i] = &pb.RitzValue{Value: v.Value, Weight: v.Weight, Bound: v.Bound, Age: v.Age, Noise: v.Noise}
		mean += v.Weight * v.Value
	}
	if trace := float64(dimension) * mean; s.Source != estimator.SourceSketch && isFinite(trace) {
		m.Trace = proto.Float64(trace)
	}
	return m
}

func scaleMessages(scales estimator.Scales) []*pb.Scale {
	messages := make([]*pb.Scale, len(scales.Groups))
	for i, g := range scales.Groups {
		messages[i] = &pb.Scale{Lowest: g.Lo, Highest: g.Hi, Count: int32(g.Count), Weight: g.Weight}
		if i+1 < len(scales.Groups) {
			messages[i].Gap = scales.Gap(i)
			messages[i].GapConfidence = scales.Confidence[i]
		}
	}
	return messages
}

// density puts the weights of the Ritz values, which are those of a Gauss
// quadrature of the eigenvalue density (Golub and Welsch, 1969), into points
// bins of equal ratio between the least positive and the largest value, behind
// one bin for all that are not positive. A spectrum from sketches has no
// density: its weights are the gradient's.
func density(s estimator.Spectrum, points int) []*pb.DensityPoint {
	if points == 0 || s.Source == estimator.SourceSketch {
		return nil
	}
	var out []*pb.DensityPoint
	lo, hi, below := math.Inf(1), 0.0, pb.DensityPoint{}
	for _, v := range s.Ritz {
		if v.Value > 0 {
			lo, hi = min(lo, v.Value), max(hi, v.Value)
		} else {
			below.Lower = min(below.Lower, v.Value)
			below.Mass += v.Weight
		}
	}
	if below.Mass > 0 {
		out = append(out, &pb.DensityPoint{Lower: below.Lower, Mass: below.Mass})
	}
	if hi == 0 {
		return out
	}
	bins, width := make([]*pb.DensityPoint, points), (math.Log(hi)-math.Log(lo))/float64(points)
	for i := range bins {
		bins[i] = &pb.DensityPoint{
			Lower: lo * math.Exp(width*float64(i)),
			Upper: lo * math.Exp(width*float64(i+1)),
		}
	}
	bins[points-1].Upper = hi
	for _, v := range s.Ritz {
		if v.Value <= 0 {
			continue
		}
		at := points - 1
		if width > 0 {
			at = min(at, int((math.Log(v.Value)-math.Log(lo))/width))
		}
		bins[at].Mass += v.Weight
	}
	return append(out, bins...)
}
