package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"multirate/bench/baseline"
	"multirate/examples/problems"
	"multirate/examples/trainer"
)

// contestOf is a contest with results made up, 0 for not reached.
func contestOf(ours1, ours2, theirs1, theirs2 int) *contest {
	c := &contest{Task: problems.Task{Entry: problems.Entry{Title: "tea", Goal: problems.Goal{Excess: true, Value: 1e-4}, Budget: 20000}, First: 1}}
	for name, n := range map[string]int{"a": ours1, "b": ours2} {
		c.ours = append(c.ours, ours{name: name, result: trainer.Result{Reached: n > 0, Gradients: n}})
	}
	for name, n := range map[string]int{"c": theirs1, "d": theirs2} {
		c.theirs = append(c.theirs, theirs{label: name, Result: baseline.Result{Reached: n > 0, Gradients: n}})
	}
	slices.SortFunc(c.ours, func(a, b ours) int { return strings.Compare(a.name, b.name) })
	return c
}

func TestVerdictsTellWinsAndLosses(t *testing.T) {
	for _, test := range []struct {
		ours1, ours2, theirs1, theirs2 int
		want                           []string
	}{
		{1000, 100, 0, 500, []string{"a: loses; d needs only 0.50 times as many gradients", "b: d needs 5.0 times as many gradients"}},
		{1000, 100, 0, 0, []string{"a: the others need more than 20.0 times as many gradients", "b: the others need more than 200.0 times as many gradients"}},
		{0, 100, 50, 200, []string{"a: did not get there; c did", "b: loses; c needs only 0.50 times as many gradients"}},
		{0, 0, 0, 0, []string{"a: did not get there, nor did the others", "b: did not get there, nor did the others"}},
	} {
		if got := contestOf(test.ours1, test.ours2, test.theirs1, test.theirs2).verdicts(); !slices.Equal(got, test.want) {
			t.Errorf("verdicts %q, want %q", got, test.want)
		}
	}
	alone := contestOf(1, 2, 0, 0)
	alone.theirs = nil
	if got := alone.verdicts(); got != nil {
		t.Errorf("verdicts %q where there is nothing to compare with", got)
	}
}

func TestRowsSayWhatWasNotReached(t *testing.T) {
	c := contestOf(0, 0, 0, 0)
	for budget, want := range map[int]string{20000: "> 20,000", 500: "> 500"} {
		c.Budget = budget
		if got := c.row("x", false, 77, 0.5, 1, 0, ""); got[2] != want {
			t.Errorf("gradients %q, want %q", got[2], want)
		}
	}
	if got := c.row("x", true, 12345, 0.5, 1, 0, ""); got[2] != "12,345" {
		t.Errorf("gradients %q", got[2])
	}
}

func TestCompareEndsWithItsContext(t *testing.T) {
	e, err := problems.Find("breast-cancer")
	if err != nil {
		t.Fatal(err)
	}
	task, err := problems.NewTask(e, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &contest{Task: task}
	if err := compare(ctx, []*contest{c}, rivals(false), newProgress(io.Discard)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	for _, r := range c.theirs {
		if r.Reached || r.Gradients > 1 {
			t.Errorf("%s: %d gradients after the end, reached %v", r.label, r.Gradients, r.Reached)
		}
	}
}

func TestGroupedHasCommas(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -999: "-999"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestTableAligns(t *testing.T) {
	got := table("lr", [][]string{{"a", "one"}, {"long", "2"}, {"μ", ""}})
	if want := "a      one\nlong     2\nμ\n"; got != want {
		t.Errorf("table %q, want %q", got, want)
	}
}

func TestProgressOverwritesOnlyTerminals(t *testing.T) {
	for _, test := range []struct {
		terminal bool
		want     string
	}{
		{false, "a long line\nshort\n"},
		{true, "\ra long line\rshort      \n"},
	} {
		var b bytes.Buffer
		p := newProgress(&b)
		p.terminal = test.terminal
		p.status(func() string { return "a long line" })
		p.status(func() string { t.Error("shown though the last one is fresh"); return "" })
		p.say("short")
		if b.String() != test.want {
			t.Errorf("wrote %q, want %q", b.String(), test.want)
		}
	}
}
