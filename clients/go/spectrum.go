package multirate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"google.golang.org/grpc"

	multiratev1 "multirate/proto/multirate/v1"
	"multirate/proto/multirate/v1/wire"
)

// HessianVectorProduct writes H*v at fixed parameters to the whole of hv, which
// holds anything. Both have length D; v must be left as it is, and neither be
// kept.
type HessianVectorProduct[T Float] func(v, hv []T) error

// EstimateOptions are the wishes for a spectrum estimate. The zero value is
// good.
type EstimateOptions struct {
	// MaxProducts is the number of products at most, 1 to min(D, 1024). 0:
	// min(D, 128). The service stops earlier once the scales have converged.
	MaxProducts int
	// Format is that of probes and products on the wire, and of the basis in the
	// service. 0: the trainer's own, float64 or float32. With FormatFloat32 no
	// scale flatter than about 1e-7 of the stiffest can be seen. FormatBFloat16
	// halves the bytes once more; no scale flatter than about 1e-2 can be seen.
	Format VectorFormat
	// ChunkElements is the number of elements a chunk at most, 1 to 1,048,576.
	// 0: 262,144.
	ChunkElements int
	// Seed is the seed of the random start vector.
	Seed uint64
	// ChunksOnly sends vectors in chunks also where the service shares memory:
	// over a unix socket, on Linux. Elsewhere they always go so.
	ChunksOnly bool
	// Probes is the number of random start vectors, 1 to 64, each with a run of
	// at most MaxProducts products; 0 means 1. Several sharpen the density, the
	// trace and their standard errors.
	Probes int
	// ColdStart does without the Ritz vectors that the service keeps of the run's
	// last estimate, from which a re-estimate takes a few products.
	ColdStart bool
	// Progress, if any, is called after each product.
	Progress func(*Progress)
}

// EstimateSpectrum lets the service run Lanczos on products that hvp computes
// at the current parameters, in float64, and returns the run's new spectrum. An
// error, of hvp say, leaves the run as it was.
func (r *Run) EstimateSpectrum(ctx context.Context, hvp HessianVectorProduct[float64], opts EstimateOptions) (*Spectrum, error) {
	return estimateSpectrum(ctx, r, hvp, opts)
}

// EstimateSpectrum32 is [Run.EstimateSpectrum] in float32: no scale flatter
// than about 1e-7 of the stiffest can be seen.
func (r *Run) EstimateSpectrum32(ctx context.Context, hvp HessianVectorProduct[float32], opts EstimateOptions) (*Spectrum, error) {
	return estimateSpectrum(ctx, r, hvp, opts)
}

func estimateSpectrum[T Float](ctx context.Context, r *Run, hvp HessianVectorProduct[T], opts EstimateOptions) (s *Spectrum, err error) {
	if err := r.Flush(ctx); err != nil {
		return nil, err
	}
	return following(r.client, func(service multiratev1.LearningRateServiceClient) (*Spectrum, error) {
		return estimateAt(ctx, service, r, hvp, opts)
	})
}

func estimateAt[T Float](ctx context.Context, service multiratev1.LearningRateServiceClient, r *Run,
	hvp HessianVectorProduct[T], opts EstimateOptions,
) (*Spectrum, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := service.EstimateSpectrum(ctx, grpc.ForceCodecV2(wire.Codec()))
	if err != nil {
		return nil, callError("EstimateSpectrum", err)
	}
	e := newEstimate[T](r, stream, hvp, opts)
	defer func() { err = errors.Join(err, e.close()) }()
	if err := e.send(e.start(r.ID())); err != nil {
		return nil, err
	}
	for {
		var resp wire.Incoming[*multiratev1.EstimateSpectrumResponse]
		if err := stream.RecvMsg(&resp); err != nil {
			return nil, callError("EstimateSpectrum", err)
		}
		switch m := resp.Message.GetMessage().(type) {
		case *multiratev1.EstimateSpectrumResponse_Probe:
			err := e.receive(m.Probe, resp.Data)
			resp.Free()
			if err != nil {
				return nil, err
			}
		case *multiratev1.EstimateSpectrumResponse_SharedMemory:
			if err := e.attach(m.SharedMemory); err != nil {
				return nil, err
			}
		case *multiratev1.EstimateSpectrumResponse_SharedProbe:
			if err := e.receiveShared(m.SharedProbe); err != nil {
				return nil, err
			}
		case *multiratev1.EstimateSpectrumResponse_Progress:
			if opts.Progress != nil {
				opts.Progress(m.Progress)
			}
		case *multiratev1.EstimateSpectrumResponse_Spectrum:
			return m.Spectrum, nil
		}
	}
}

// wireFormats are the formats by the bytes of an element, and wireWidths the
// reverse.
var (
	wireFormats = map[int]VectorFormat{2: FormatBFloat16, 4: FormatFloat32, 8: FormatFloat64}
	wireWidths  = map[VectorFormat]int{FormatBFloat16: 2, FormatFloat32: 4, FormatFloat64: 8}
)

// estimate is the trainer's end of one EstimateSpectrum stream.
type estimate[T Float] struct {
	stream multiratev1.LearningRateService_EstimateSpectrumClient
	hvp    HessianVectorProduct[T]
	opts   EstimateOptions
	chunks chunking
	// probe is the vector being received, product its product.
	probe, product []T
	// filled is the number of elements of the present probe received.
	filled int
	vector int32
	// target is where the client dialled, memory what the service there shares.
	target string
	memory *sharedMemory
}

func newEstimate[T Float](r *Run, stream multiratev1.LearningRateService_EstimateSpectrumClient,
	hvp HessianVectorProduct[T], opts EstimateOptions,
) *estimate[T] {
	n := r.sketcher.dimension
	e := &estimate[T]{
		stream: stream, hvp: hvp, opts: opts, probe: make([]T, n), product: make([]T, n),
		target: r.client.conn.Target(),
	}
	e.chunks = chunking{elements: opts.ChunkElements, width: cmp.Or(wireWidths[opts.Format], elementWidth[T]())}
	if e.chunks.elements == 0 {
		e.chunks.elements = defaultChunkElements
	}
	return e
}

func (e *estimate[T]) start(id string) *multiratev1.EstimateSpectrumRequest {
	_, local := socketPath(e.target)
	return &multiratev1.EstimateSpectrumRequest{Message: &multiratev1.EstimateSpectrumRequest_Start{
		Start: &multiratev1.EstimateSpectrumStart{
			RunId:         id,
			MaxProducts:   int32(e.opts.MaxProducts),
			Format:        wireFormats[e.chunks.width],
			ChunkElements: int32(e.opts.ChunkElements),
			Seed:          e.opts.Seed,
			SharedMemory:  local && !e.opts.ChunksOnly,
			Probes:        int32(e.opts.Probes),
			ColdStart:     e.opts.ColdStart,
		},
	}}
}

// receive takes one chunk of a probe and answers a whole probe by its product.
func (e *estimate[T]) receive(chunk *multiratev1.VectorChunk, data [][]byte) error {
	n, err := decodeChunk(e.chunks, e.probe, e.filled, e.vector, chunk, data)
	if err != nil {
		return fmt.Errorf("multirate: EstimateSpectrum: probe %d: %w", e.vector, err)
	}
	if e.filled += n; e.filled < len(e.probe) {
		return nil
	}
	if err := e.hvp(e.probe, e.product); err != nil {
		return fmt.Errorf("multirate: Hessian-vector product %d: %w", e.vector, err)
	}
	if err := e.sendProduct(); err != nil {
		return err
	}
	e.filled, e.vector = 0, e.vector+1
	return nil
}

// sendProduct sends the product, encoding each chunk while the one before is sent.
func (e *estimate[T]) sendProduct() error {
	next, stop := iter.Pull(encodeChunks(e.chunks, e.vector, e.product))
	defer stop()
	for chunk, more := next(); more; {
		sent, present := make(chan error, 1), chunk
		go func() { sent <- e.send(present) }()
		chunk, more = next()
		if err := <-sent; err != nil {
			return err
		}
	}
	return nil
}

// send sends req; where the service has ended the stream, it leaves it to the
// next Recv to say why.
func (e *estimate[T]) send(req any) error {
	if err := e.stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) {
		return callError("EstimateSpectrum", err)
	}
	return nil
}

// ReportLanczos hands in the coefficients of a Lanczos run on the trainer's own
// device, of [Lanczos] say, and returns the run's new spectrum: alpha of length
// k, beta of length k-1, or k with the last residual norm.
func (r *Run) ReportLanczos(ctx context.Context, alpha, beta []float64) (*Spectrum, error) {
	if err := r.Flush(ctx); err != nil {
		return nil, err
	}
	resp, err := r.client.service.ReportLanczos(ctx, &multiratev1.ReportLanczosRequest{
		RunId:        r.ID(),
		Coefficients: &multiratev1.LanczosCoefficients{Alpha: alpha, Beta: beta},
	})
	return resp.GetSpectrum(), callError("ReportLanczos", err)
}

// Spectrum returns the run's latest spectrum, with its density on densityPoints
// points, 0 to 512, 0 for none. While nothing is known, the error's reason is
// NO_SPECTRUM.
func (r *Run) Spectrum(ctx context.Context, densityPoints int) (*Spectrum, error) {
	if err := r.Flush(ctx); err != nil {
		return nil, err
	}
	resp, err := r.client.service.GetSpectrum(ctx, &multiratev1.GetSpectrumRequest{
		RunId:         r.ID(),
		DensityPoints: int32(densityPoints),
	})
	return resp.GetSpectrum(), callError("GetSpectrum", err)
}
