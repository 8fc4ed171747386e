package scheduler

import (
	"bytes"
	"errors"
	"testing"
)

// A run that is saved and restored at every step goes on with the same bits, in
// every phase: warmup, planned, damping, recovery, open loop, scalars.
func TestRestoredRunsGoOnWithTheSameBits(t *testing.T) {
	lambda := threeScales(6)
	for name, prepare := range map[string]func(*trainer, *Controller) error{
		"closed loop": func(*trainer, *Controller) error { return nil },
		"open loop": func(tr *trainer, c *Controller) error {
			tr.sketches = false
			return adopt(c, exactSpectrum(lambda))
		},
		"scalars": func(tr *trainer, _ *Controller) error {
			tr.sketches, tr.products = false, true
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTrainer(1, lambda...)
			cfg := tr.config()
			cfg.Window = 8
			through, restored := mustController(t, cfg), mustController(t, cfg)
			for _, c := range []*Controller{through, restored} {
				if err := prepare(tr, c); err != nil {
					t.Fatal(err)
				}
			}
			for range 150 {
				data, err := restored.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				if restored, err = UnmarshalController(data); err != nil {
					t.Fatal(err)
				}
				o := tr.observe()
				want, got := mustObserve(t, through, o), mustObserve(t, restored, o)
				if got.Rate != want.Rate || got.Reason != want.Reason || got.Stiffest != want.Stiffest {
					t.Fatalf("step %d: restored %+v, want %+v", o.Step, got, want)
				}
				tr.apply(want.Rate)
			}
			a, err := through.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			b, err := restored.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Error("the states differ")
			}
		})
	}
}

func TestDamagedStatesAreRefused(t *testing.T) {
	tr := newTrainer(2, threeScales(4)...)
	c := mustController(t, tr.config())
	for range 20 {
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
	}
	data, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty":    nil,
		"text":     []byte("not a state"),
		"cut":      data[:len(data)/2],
		"trailing": append(append([]byte(nil), data...), 0),
	} {
		if _, err := UnmarshalController(bad); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v, want ErrState", name, err)
		}
	}
}

func FuzzUnmarshalController(f *testing.F) {
	for _, sketches := range []bool{true, false} {
		tr := newTrainer(3, 4, 1, 0.01)
		tr.sketches = sketches
		cfg := tr.config()
		cfg.Window = 4
		c := mustController(f, cfg)
		for range 12 {
			tr.apply(mustObserve(f, c, tr.observe()).Rate)
		}
		data, err := c.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := UnmarshalController(data)
		if err != nil {
			return
		}
		// Whatever is accepted must serve numbers.
		o := Observation{
			Step: c.s.Step + 1, Loss: 1e6 + c.cfg.LossLowerBound, GradientNormSquared: 1,
			GradientDotPrevious: 0.5, ParameterNorm: 1, AppliedRate: 1e-3, SameBatch: true,
		}
		if o.Step < 0 {
			return
		}
		if d, err := c.Observe(o); err == nil && (!finite(d.Rate) || d.Rate < 0) {
			t.Fatalf("rate %v", d.Rate)
		}
		if _, err := c.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	})
}
