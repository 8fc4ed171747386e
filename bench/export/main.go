// Command export trains a problem of the bars in float64 and writes the problem
// itself for trainers in other languages: a line of JSON with its dimensions, the
// least loss and the gradients that training took, followed by features, labels
// and start as little-endian float64. bench/python/float32.py reads it.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"multirate/bench/service"
	"multirate/examples/problems"
	"multirate/examples/trainer"
)

// problem is one that can be written.
type problem interface {
	problems.Problem
	Data() (features, labels []float64)
}

type header struct {
	Features  int     `json:"features"`
	Labels    int     `json:"labels"`
	Start     int     `json:"start"`
	Least     float64 `json:"least"`
	Gradients int     `json:"gradients"`
	Reached   bool    `json:"reached"`
}

func main() {
	name := flag.String("problem", "grouped2", "grouped2, grouped3 or mnist")
	seed := flag.Uint64("seed", 101, "seed of the problem")
	flag.Parse()
	if err := run(*name, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "export:", err)
		os.Exit(1)
	}
}

func run(name string, seed uint64) (err error) {
	var p problem
	least, target := 0.0, 0.0
	excess := func(l *problems.Logistic) {
		p, least = l, l.Minimum()
		first := l.Gradient(l.Start(), make([]float64, l.Dim()))
		target = least + 1e-6*(first-least)
	}
	switch name {
	case "grouped2":
		excess(problems.GroupedLogistic2(seed))
	case "grouped3":
		excess(problems.GroupedLogistic3(seed))
	case "mnist":
		p, target = problems.MNISTNetwork(seed, 1000), 1e-3
	default:
		return fmt.Errorf("no problem %q", name)
	}
	ctx := context.Background()
	client, stop, err := service.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	r, err := trainer.Train(ctx, client, p, trainer.Config{
		Seed: seed, Target: func(loss float64) bool { return loss <= target },
	})
	if err != nil {
		return err
	}
	features, labels := p.Data()
	line, err := json.Marshal(header{len(features), len(labels), p.Dim(), least, r.Gradients, r.Reached})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	if _, err := out.Write(append(line, '\n')); err != nil {
		return err
	}
	for _, numbers := range [][]float64{features, labels, p.Start()} {
		if err := binary.Write(out, binary.LittleEndian, numbers); err != nil {
			return err
		}
	}
	return out.Flush()
}
