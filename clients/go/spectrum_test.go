package multirate

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	multiratev1 "multirate/proto/multirate/v1"
)

// third has no exact float32, so that the format on the wire shows.
const third = 1.0 / 3

func tripled(v, hv []float64) error {
	for i, x := range v {
		hv[i] = 3 * x
	}
	return nil
}

func TestEstimateSpectrumAnswersEveryProbe(t *testing.T) {
	for _, c := range []struct {
		name string
		opts EstimateOptions
		want float64
	}{
		{"float64", EstimateOptions{ChunkElements: 2}, 3 * third},
		{"one chunk", EstimateOptions{ChunkElements: 100}, 3 * third},
		{"float32", EstimateOptions{ChunkElements: 1, Format: FormatFloat32}, float64(float32(3 * float64(float32(third))))},
		// 1/3 becomes 171/512, and three times that, 513/512, becomes 1.
		{"bfloat16", EstimateOptions{ChunkElements: 2, Format: FormatBFloat16}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			service := &fakeService{probes: [][]float64{{third, 0, 0}, {0, third, 0}, {0, 0, third}}}
			run := newRun(t, service)
			var progress []int32
			c.opts.Progress = func(p *Progress) { progress = append(progress, p.GetProducts()) }
			spectrum, err := run.EstimateSpectrum(t.Context(), tripled, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			if spectrum.GetProducts() != 3 || !slices.Equal(progress, []int32{1, 2, 3}) {
				t.Errorf("%d products, progress %d", spectrum.GetProducts(), progress)
			}
			for i, product := range service.products {
				want := make([]float64, 3)
				want[i] = c.want
				if !slices.Equal(product, want) {
					t.Errorf("product %d is %v, want %v", i, product, want)
				}
			}
		})
	}
}

func TestEstimateSpectrum32SendsFloat32(t *testing.T) {
	service := &fakeService{probes: [][]float64{{third, 0, 1}}}
	run := newRun(t, service)
	_, err := run.EstimateSpectrum32(t.Context(), func(v, hv []float32) error {
		copy(hv, v)
		return nil
	}, EstimateOptions{ChunkElements: 2})
	if want := []float64{float64(float32(third)), 0, 1}; err != nil || !slices.Equal(service.products[0], want) {
		t.Errorf("product %v, %v, want %v", service.products, err, want)
	}
}

func TestFailedProductCancelsTheEstimate(t *testing.T) {
	service := &fakeService{probes: [][]float64{{1, 0, 0}}, estimate: make(chan error, 1)}
	run := newRun(t, service)
	broken := errors.New("out of memory")
	_, err := run.EstimateSpectrum(t.Context(), func(_, _ []float64) error { return broken }, EstimateOptions{ChunkElements: 3})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the product's", err)
	}
	if err := <-service.estimate; status.Code(err) != codes.Canceled {
		t.Errorf("the service saw %v, want a cancelled stream", err)
	}
}

func TestDamagedProbesAreRefused(t *testing.T) {
	for want, damage := range map[string]func(*multiratev1.VectorChunk){
		"checksum":             func(c *multiratev1.VectorChunk) { c.Data[0] ^= 1 },
		"chunk of vector 1":    func(c *multiratev1.VectorChunk) { c.Vector++ },
		"at element 1, want 0": func(c *multiratev1.VectorChunk) { c.Offset++ },
		"4 elements, want 3":   func(c *multiratev1.VectorChunk) { c.Total++ },
		"chunk of 25 bytes":    func(c *multiratev1.VectorChunk) { c.Data = append(c.Data, 0) },
		"chunk of 32 bytes":    func(c *multiratev1.VectorChunk) { c.Data = append(c.Data, c.Data[:8]...) },
		"chunk of 0 bytes":     func(c *multiratev1.VectorChunk) { c.Data = nil },
	} {
		t.Run(want, func(t *testing.T) {
			service := &fakeService{probes: [][]float64{{1, 2, 3}}, damage: damage}
			run := newRun(t, service)
			_, err := run.EstimateSpectrum(t.Context(), tripled, EstimateOptions{ChunkElements: 3})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one that says %q", err, want)
			}
		})
	}
}

func TestChunksCarryEveryBit(t *testing.T) {
	v := []float64{0, math.Copysign(0, -1), third, math.MaxFloat64, math.SmallestNonzeroFloat64}
	for elements := 1; elements <= len(v)+1; elements++ {
		c := chunking{elements: elements, width: 8}
		got, filled := make([]float64, len(v)), 0
		for chunk := range encodeChunks(c, 7, v) {
			n, err := decodeChunk(c, got, filled, 7, chunk.Chunk, [][]byte{chunk.Data.ReadOnlyData()})
			if err != nil {
				t.Fatal(err)
			}
			filled += n
		}
		for i := range v {
			if math.Float64bits(got[i]) != math.Float64bits(v[i]) {
				t.Errorf("%d elements a chunk: element %d is %g, want %g", elements, i, got[i], v[i])
			}
		}
	}
}
