package problems

import (
	"math"
	"testing"

	"multirate/examples/data"
)

// Without weights every class has probability 1/10, so the loss is log 10, the
// slope along an output bias is 1/10 less the share of its class, and nothing
// reaches the layer below.
func TestNetworkWithoutWeightsKnowsNothing(t *testing.T) {
	const images = 200
	p := MNISTNetwork(1, images)
	g := make([]float64, p.Dim())
	loss := p.Gradient(make([]float64, p.Dim()), g)
	if math.Abs(loss-math.Log(10)) > images*0x1p-52 {
		t.Errorf("loss %.15g, want log 10", loss)
	}
	_, labels := data.MNIST()
	var want [networkDim]float64
	for c := range networkClasses {
		want[outBias+c] = 0.1
	}
	for _, label := range labels[:images] {
		want[outBias+int(label)] -= 1.0 / images
	}
	for i := range g {
		if math.Abs(g[i]-want[i]) > images*0x1p-52 {
			t.Fatalf("gradient %d is %g, want %g", i, g[i], want[i])
		}
	}
}

func TestNetworkStartsWithScaledNormalWeights(t *testing.T) {
	x := MNISTNetwork(9, 1).Start()
	for _, c := range []struct {
		name     string
		part     []float64
		variance float64
	}{
		{"W1", x[:hiddenBias], 4.0 / 196},
		{"b1", x[hiddenBias:outWeights], 0},
		{"W2", x[outWeights:outBias], 1.0 / 24},
		{"b2", x[outBias:], 0},
	} {
		n := float64(len(c.part))
		// A normal's squares have variance 2: 5 standard errors.
		tolerance := 5 * math.Sqrt(2/n) * c.variance
		if got := dot(c.part, c.part) / n; math.Abs(got-c.variance) > tolerance {
			t.Errorf("%s: mean square %.4g, want %.4g within %.2g", c.name, got, c.variance, tolerance)
		}
	}
}

func TestHalveAveragesFourPixels(t *testing.T) {
	picture := make([]byte, data.MNISTSide*data.MNISTSide)
	// The block in row 1 and column 2 of the halved picture.
	picture[2*28+4], picture[2*28+5], picture[3*28+4], picture[3*28+5] = 255, 255, 51, 0
	got := halve(picture)
	want := pixel{input: 14 + 2, value: 561.0 / 1020}
	if len(got) != 1 || got[0] != want {
		t.Errorf("halve gives %v, want only %v", got, want)
	}
}

func TestNetworkRefusesImagesItLacks(t *testing.T) {
	for _, images := range []int{0, data.MNISTImages + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d images were taken", images)
				}
			}()
			MNISTNetwork(1, images)
		}()
	}
}
