package scheduler

import (
	"math"
	"reflect"
	"testing"

	"multirate/estimator"
)

// parted adds two half-batches whose gradients differ by 2 z.
func parted(o Observation, z ...float32) Observation {
	halves := [][]float32{make([]float32, len(o.Sketch)), make([]float32, len(o.Sketch))}
	for i, v := range o.Sketch {
		halves[0][i], halves[1][i] = v+z[i], v-z[i]
	}
	o.Parts = halves
	return o
}

func TestPartsOfBatchesTellTheNoiseAndChangeNoRate(t *testing.T) {
	plain, noisy := newTrainer(3, 1, 0.1), newTrainer(3, 1, 0.1)
	a, b := mustController(t, plain.config()), mustController(t, noisy.config())
	if _, ok := b.Noise(); ok {
		t.Error("noise without parts")
	}
	for range 6 {
		da, db := mustObserve(t, a, plain.observe()), mustObserve(t, b, parted(noisy.observe(), 0.01, 0.02))
		if da.Rate != db.Rate {
			t.Fatalf("rate %v with parts, %v without", db.Rate, da.Rate)
		}
		plain.apply(da.Rate)
		noisy.apply(db.Rate)
	}
	noise, ok := b.Noise()
	if want := 0.01*0.01 + 0.02*0.02; !ok || math.Abs(noise.Square-want) > 1e-3*want {
		t.Errorf("noise %+v, want %v", noise, want)
	}
	s, _ := b.Spectrum()
	if len(s.Ritz) != 2 || math.Abs(s.Ritz[0].Noise-1e-4) > 1e-6 || math.Abs(s.Ritz[1].Noise-4e-4) > 1e-6 {
		t.Errorf("%+v, want noise of 1e-4 along 1 and 4e-4 along 0.1", s.Ritz)
	}
	data, err := b.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := UnmarshalController(data)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := restored.Spectrum(); !reflect.DeepEqual(again, s) {
		t.Errorf("restored %+v, was %+v", again, s)
	}
}

func TestPartsMustHaveTheSketchsLength(t *testing.T) {
	tr := newTrainer(3, 1, 0.1)
	c := mustController(t, tr.config())
	o := tr.observe()
	o.Parts = [][]float32{{1, 2}, {1}}
	if _, err := c.Observe(o); err == nil {
		t.Error("a part of the wrong length was taken")
	}
}

// Once sketches supersede a spectrum from products, what the window does not see
// of it is still shown, with its age.
func TestSpectrumRemembersWhatProductsShowed(t *testing.T) {
	tr := newTrainer(4, 1, 0.5)
	c := mustController(t, tr.config())
	plan, err := NewPlan(c.Config(), estimator.Spectrum{
		Source: estimator.SourceLanczos, Stiffest: 1, Products: 3,
		Ritz: []estimator.RitzValue{{Value: 1, Weight: 0.4}, {Value: 0.5, Weight: 0.3}, {Value: 1e-4, Weight: 0.3}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Adopt(plan)
	for range 5 {
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
	}
	s, _ := c.Spectrum()
	last := s.Ritz[len(s.Ritz)-1]
	if s.Source != estimator.SourceSketch || len(s.Ritz) != 3 || last.Value != 1e-4 || last.Weight != 0 || last.Age == 0 {
		t.Errorf("%+v, want the window's values and 1e-4 from products", s)
	}
}
