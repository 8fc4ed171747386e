package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"multirate/estimator"
	pb "multirate/proto/multirate/v1"
	"multirate/proto/multirate/v1/wire"
)

const (
	defaultProducts = 128
	maxProducts     = 1024
	defaultElements = 262_144
	maxElements     = 1 << 20
	// chunkOverhead is more than a chunk's other fields and framing take.
	chunkOverhead = 128
	// convergence is the share of its size to which each edge of a scale must
	// have settled for an estimate to stop early. A learning rate that is off by
	// so little costs nothing.
	convergence = 0.05
)

type (
	estimateStream = grpc.BidiStreamingServer[pb.EstimateSpectrumRequest, pb.EstimateSpectrumResponse]
	estimateInbox  = inbox[*incoming]
	incoming       = wire.Incoming[*pb.EstimateSpectrumRequest]
)

// EstimateSpectrum implements the RPC of that name.
func (s *Server) EstimateSpectrum(stream estimateStream) error {
	ctx := stream.Context()
	in := receive(ctx, func() (*incoming, error) {
		var m incoming
		return &m, stream.RecvMsg(&m)
	})
	first, err := in.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	start := first.Message.GetStart()
	if start == nil {
		var v violations
		v.add(ReasonStartExpected, "start", "is missing: the first message of the stream must be start")
		return v.err()
	}
	r, err := s.lookup(ctx, start.GetRunId())
	if err != nil {
		return err
	}
	e, err := s.openEstimate(r, start)
	if err != nil {
		return err
	}
	defer e.close(s)
	in.life, in.id = e.life, r.id
	link := &link{in: in, stream: stream}
	way, err := s.wayFor(link, e, start)
	if err != nil {
		return err
	}
	defer way.close()
	spectrum, err := e.estimateProbes(link, way)
	if err != nil {
		s.log.Info("estimate ended", "run", r.id, "error", err)
		return err
	}
	message, err := r.adopt(e.life, s, int64(e.dimension), spectrum)
	if err != nil {
		return err
	}
	s.log.Info("estimate done", "run", r.id, "products", spectrum.Products, "scales", len(message.Scales))
	return link.send(&pb.EstimateSpectrumResponse{
		Message: &pb.EstimateSpectrumResponse_Spectrum{Spectrum: message},
	})
}

// estimate is one EstimateSpectrum under way.
type estimate struct {
	run                 *run
	life                context.Context
	dimension, products int
	probes, spent       int // products spent on the probes before
	format              pb.VectorFormat
	chunk               int // elements
	seed                uint64
	largest, least      float64 // Ritz values, at the last look
	reserved            int64   // bytes
	numerics            chan struct{}
	// kept are the Ritz vectors of the last estimate, nil for a cold start.
	kept    *estimator.RitzVectors
	release func()
}

// openEstimate validates start, reserves the memory and marks the run. close
// undoes both.
func (s *Server) openEstimate(r *run, start *pb.EstimateSpectrumStart) (*estimate, error) {
	if err := r.lock(); err != nil {
		return nil, err
	}
	e := &estimate{run: r, life: r.life, dimension: int(r.decl.run.Dimension), seed: start.GetSeed(), numerics: s.numerics}
	busy := r.estimating
	r.mu.Unlock()
	if err := e.configure(start, s.options.MaxMessageBytes); err != nil {
		return nil, err
	}
	if busy {
		return nil, estimateInProgress(r.id)
	}
	if !start.GetColdStart() && e.probes == 1 {
		e.kept = s.kept.take(s, r, precisions[e.format])
	}
	e.reserved = e.bytes(e.products)
	release, err := s.reserve(r.id, e.reserved, e.waysOut(min(s.options.MaxRunBytes, s.memory.free())))
	if err != nil {
		s.kept.put(e.life, s, r, e.kept)
		return nil, err
	}
	e.release = release
	if err := e.begin(); err != nil {
		release()
		s.kept.put(e.life, s, r, e.kept)
		return nil, err
	}
	return e, nil
}

// begin marks the run.
func (e *estimate) begin() error {
	if err := e.run.lockAlive(e.life); err != nil {
		return err
	}
	defer e.run.mu.Unlock()
	if e.run.estimating {
		return estimateInProgress(e.run.id)
	}
	e.run.estimating = true
	return nil
}

func estimateInProgress(id string) error {
	return refusef(codes.FailedPrecondition, ReasonEstimateInProgress,
		"an estimate of run %q is under way: wait for it, or cancel its stream", id)
}

// close frees the memory but for the vectors that the next estimate may start
// from: new ones, or the old ones where this one has failed.
func (e *estimate) close(s *Server) {
	e.release()
	s.kept.put(e.life, s, e.run, e.kept)
	e.run.mu.Lock()
	e.run.estimating = false
	e.run.mu.Unlock()
}

// configure fills in what start asks for.
func (e *estimate) configure(start *pb.EstimateSpectrumStart, maxMessage int) error {
	var v violations
	most := min(e.dimension, maxProducts)
	v.within("start.max_products", int64(start.GetMaxProducts()), 0, int64(most), "0 means the smaller of the run's dimension and 128")
	e.products = int(start.GetMaxProducts())
	e.probes = e.probesOf(&v, start)
	if e.products == 0 {
		e.products = min(e.dimension, defaultProducts, maxCoefficients/e.probes)
	}
	switch start.GetFormat() {
	case pb.VectorFormat_VECTOR_FORMAT_UNSPECIFIED, pb.VectorFormat_VECTOR_FORMAT_FLOAT32:
		e.format = pb.VectorFormat_VECTOR_FORMAT_FLOAT32
	case pb.VectorFormat_VECTOR_FORMAT_FLOAT64:
		e.format = pb.VectorFormat_VECTOR_FORMAT_FLOAT64
	case pb.VectorFormat_VECTOR_FORMAT_BFLOAT16:
		e.format = pb.VectorFormat_VECTOR_FORMAT_BFLOAT16
	default:
		v.add(ReasonOutOfRange, "start.format", "is %d, which this server does not know: use VECTOR_FORMAT_FLOAT32", start.GetFormat())
	}
	fit := min(maxElements, (maxMessage-chunkOverhead)/elementBytes(e.format))
	v.within("start.chunk_elements", int64(start.GetChunkElements()), 0, int64(fit), "0 means 262144")
	e.chunk = int(start.GetChunkElements())
	if e.chunk == 0 {
		e.chunk = min(defaultElements, fit)
	}
	return v.err()
}

// precisions are those in which vectors of each format are stored: a probe is
// the stored vector.
var precisions = map[pb.VectorFormat]estimator.Precision{
	pb.VectorFormat_VECTOR_FORMAT_FLOAT32:  estimator.Float32,
	pb.VectorFormat_VECTOR_FORMAT_FLOAT64:  estimator.Float64,
	pb.VectorFormat_VECTOR_FORMAT_BFLOAT16: estimator.BFloat16,
}

// lanczos is the run of so many products.
func (e *estimate) lanczos(products int) estimator.LanczosConfig {
	return estimator.LanczosConfig{
		Dimension: e.dimension,
		Products:  products,
		Seed:      e.seed,
		Precision: precisions[e.format],
		Parallel:  onAllCores,
		Kept:      e.kept,
	}
}

// bytes is the memory of an estimate with so many products: the Lanczos basis,
// what reading a spectrum off it borrows, the product, and three chunks on
// their way in or out, in their wire form and as gRPC's copy.
func (e *estimate) bytes(products int) int64 {
	chunks := 6 * (min(e.chunk, e.dimension)*elementBytes(e.format) + chunkOverhead)
	total := e.lanczos(products).Bytes() + estimator.SpectrumBytes(min(products, e.dimension)) +
		8*float64(e.dimension) + float64(chunks)
	return int64(min(total, math.MaxInt64/2))
}

// waysOut tells how an estimate would fit into so many bytes.
func (e *estimate) waysOut(bytes int64) string {
	const coefficients = "run Lanczos in the trainer and send its coefficients with ReportLanczos, " +
		"which takes two numbers for each product, whatever the dimension"
	fit, over := 0, e.products
	for over-fit > 1 {
		if middle := (fit + over) / 2; e.bytes(middle) <= bytes {
			fit = middle
		} else {
			over = middle
		}
	}
	if fit == 0 {
		return coefficients
	}
	return fmt.Sprintf("ask for at most %d products with max_products, or %s", fit, coefficients)
}

// estimate drives Lanczos; its vectors go their way.
func (e *estimate) estimate(link *link, way vectors) (estimator.Spectrum, error) {
	var lanczos *estimator.Lanczos
	err := e.compute(link, func() (err error) {
		if lanczos, err = e.lanczos(e.products).Start(); err != nil {
			return coreError(err)
		}
		return nil
	})
	if err != nil {
		return estimator.Spectrum{}, err
	}
	warm := 0
	if lanczos.Warm() {
		warm = e.kept.Count()
	}
	product, look := make([]float64, e.dimension), warm+1
	for converged := false; !lanczos.Done() && !converged; {
		if err := way.ask(int32(e.spent+lanczos.Steps()), lanczos.Probe()); err != nil {
			return estimator.Spectrum{}, err
		}
		if err := way.answer(int32(e.spent+lanczos.Steps()), product); err != nil {
			return estimator.Spectrum{}, err
		}
		err := e.compute(link, func() error {
			if err := lanczos.Absorb(product); err != nil {
				return estimatorError("product.data", err)
			}
			if steps := lanczos.Steps(); steps == look || lanczos.Done() {
				look = warm + nextLook(steps-warm)
				converged = e.look(lanczos) && e.spent == 0
			}
			return link.in.interrupted()
		})
		if err != nil {
			return estimator.Spectrum{}, err
		}
		if err := e.progress(link, e.spent+lanczos.Steps(), warm); err != nil {
			return estimator.Spectrum{}, err
		}
	}
	spectrum := lanczos.Spectrum()
	if e.probes == 1 {
		e.kept = lanczos.Keep()
	}
	return spectrum, nil
}

// compute does an estimate's own work once it has a place for it: many estimates
// at once would leave trainers that wait for a rate no core.
func (e *estimate) compute(link *link, work func() error) error {
	select {
	case e.numerics <- struct{}{}:
	case <-link.in.ctx.Done():
		return interrupted(link.in.ctx)
	case <-link.in.life.Done():
		return link.in.endedStatus()
	}
	defer func() { <-e.numerics }()
	return work()
}

// nextLook is the number of products at which to decompose the tridiagonal
// matrix again. That takes of the order of k^2 operations; looking at
// geometrically growing k keeps all looks within a few times the last one.
func nextLook(steps int) int { return steps + 1 + steps/8 }

// look reads the extreme Ritz values off, and whether the scales have
// converged.
func (e *estimate) look(lanczos *estimator.Lanczos) (converged bool) {
	spectrum := lanczos.Spectrum()
	if !spectrum.Known() {
		return false
	}
	e.largest, e.least = spectrum.Ritz[0].Value, spectrum.Ritz[len(spectrum.Ritz)-1].Value
	return lanczos.Converged(convergence)
}

func (e *estimate) progress(link *link, products, warm int) error {
	return link.send(&pb.EstimateSpectrumResponse{
		Message: &pb.EstimateSpectrumResponse_Progress{Progress: &pb.EstimateSpectrumProgress{
			Products:          int32(products),
			MaxProducts:       int32(e.products * e.probes),
			LargestRitzValue:  e.largest,
			SmallestRitzValue: e.least,
			KeptVectors:       int32(warm),
		}},
	})
}

// reserve takes memory for one run's work from both budgets. advice is what the
// client could do instead.
func (s *Server) reserve(run string, bytes int64, advice string) (release func(), err error) {
	if limit := s.options.MaxRunBytes; bytes > limit {
		return nil, refuseQuota(ReasonMemoryBudget, "run:"+run, "bytes_per_run", limit,
			"this takes %d bytes of memory, a run may take %d: %s", bytes, limit, advice)
	}
	if !s.memory.reserve(bytes) && !s.kept.makeRoom(s, bytes) {
		return nil, refuseQuota(ReasonMemoryBudget, "server", "bytes", s.memory.limit,
			"this takes %d bytes of memory, and of the %d for all runs together %d are free: %s, or wait for other estimates to end",
			bytes, s.memory.limit, s.memory.free(), advice)
	}
	return func() { s.memory.release(bytes) }, nil
}
