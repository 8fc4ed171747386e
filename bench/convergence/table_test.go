package main

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multirate/bench/suite"
	"multirate/examples/problems"
)

// made is a result with what a test looks at.
func made(method string, seed uint64, gradients int, peak float64) result {
	return result{
		Row:       suite.Row{Method: method, Gradients: gradients, Reached: gradients > 0, Peak: peak, End: "target"},
		instance:  instance{family: problems.Entry{Name: "tea", Title: "tea", Goal: problems.Goal{Excess: true, Value: 1e-4}}, seed: seed, size: 1},
		contender: suite.Contender{Name: method, Ours: method != reference},
		problem:   "tea",
	}
}

func sample() []result {
	return []result{
		made("ours", 1, 50, 1), made("ours", 2, 300, 1), made("ours", 3, 0, 1),
		made(reference, 1, 100, 1), made(reference, 2, 100, 1), made(reference, 3, 100, 1),
	}
}

func TestTablesSumUpSeeds(t *testing.T) {
	text := tables(sample())
	for _, want := range []string{
		"ours        2/3      300         50 to -      3.00          +Inf    1",
		"L-BFGS 10   3/3      100         100 to 100   1.00          1.00    1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	if strings.Index(text, "L-BFGS 10   3/3") > strings.Index(text, "ours") {
		t.Error("the method with more gradients comes first")
	}
}

func TestWorstNamesWhatWasLostAndHowToRepeatIt(t *testing.T) {
	all := append(sample(), made("ours", 4, 10, 7), made(reference, 4, 100, 1))
	text := worst(all, options{worst: 2})
	if !strings.Contains(text, "ours: 3 of 4 problems lost") {
		t.Error(text)
	}
	unsolved, peak := strings.Index(text, "-first-seed 3 "), strings.Index(text, "-first-seed 4 ")
	if unsolved < 0 || peak < unsolved || strings.Contains(text, "-first-seed 2 ") {
		t.Errorf("want seeds 3 and 4, in this order:\n%s", text)
	}
	if got := worst(sample()[3:], options{worst: 2}); got != "" {
		t.Errorf("%q where nothing of ours was measured", got)
	}
}

func TestProfileRisesToTheShareSolved(t *testing.T) {
	best := map[string]float64{}
	for i, r := range sample()[:3] {
		best[r.key()] = []float64{50, 100, 100}[i]
	}
	points := profile(sample()[:3], best)
	last := points[len(points)-1]
	if last.X != profileReach || math.Abs(last.Y-2.0/3) > 1e-15 {
		t.Errorf("ends at %v, want two of three", last)
	}
	for i := range points[1:] {
		if points[i+1].X < points[i].X || points[i+1].Y < points[i].Y {
			t.Errorf("falls from %v to %v", points[i], points[i+1])
		}
	}
}

func TestFilesHoldEveryResult(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.csv")
	if err := writeCSV(path, sample()); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil || len(rows) != 1+len(sample()) {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	picture := filepath.Join(dir, "x.png")
	if err := drawProfile(picture, sample()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(picture); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
}
