package main

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// reference is the method that every other is compared with.
const reference = "L-BFGS 10"

// contest is a family at one size and target; all its seeds are summed up
// together.
type contest struct {
	family string
	size   int
	target float64
}

func (r result) contest() contest { return contest{r.family.Name, r.size, r.family.Goal.Value} }

// cost is the gradients taken, infinite where the target was not met.
func (r result) cost() float64 {
	if !r.Reached {
		return math.Inf(1)
	}
	return float64(r.Gradients)
}

// key names the problem that a result is of.
func (r result) key() string { return fmt.Sprint(r.contest(), r.seed) }

// costsOf maps problems to what a method took.
func costsOf(all []result, method string) map[string]float64 {
	costs := map[string]float64{}
	for _, r := range all {
		if r.Method == method {
			costs[r.key()] = r.cost()
		}
	}
	return costs
}

// ratio is NaN where the reference is not known or neither got there.
func ratio(cost float64, costs map[string]float64, key string) float64 {
	other, ok := costs[key]
	if !ok {
		return math.NaN()
	}
	return cost / other
}

// tables holds one table per contest, one line per method, best first.
func tables(all []result) string {
	var b strings.Builder
	costs := costsOf(all, reference)
	for _, group := range groups(all, func(r result) contest { return r.contest() }) {
		first := group[0]
		least, most := first.dimension, first.dimension
		for _, r := range group {
			least, most = min(least, r.dimension), max(most, r.dimension)
		}
		dimensions := strconv.Itoa(least)
		if most > least {
			dimensions += " to " + strconv.Itoa(most)
		}
		fmt.Fprintf(&b, "\n%s, size %d: %s parameters, to %s\n", first.family.Title, first.size, dimensions, first.family.Goal)
		text := fmt.Sprintf("   method\tsolved\tgradients\trange\tx %s\tworst\tpeak\tsetting\n", reference)
		lines := groups(group, func(r result) string { return r.Method })
		slices.SortStableFunc(lines, func(a, b []result) int { return cmp.Compare(median(a, result.cost), median(b, result.cost)) })
		for _, rows := range lines {
			text += line(rows, costs)
		}
		t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
		_, _ = io.WriteString(t, text) // to memory, as is the next
		_ = t.Flush()
	}
	return b.String()
}

func line(rows []result, costs map[string]float64) string {
	solved, peak, low, high := 0, 0.0, math.Inf(1), 0.0
	for _, r := range rows {
		if r.Reached {
			solved++
		}
		peak, low, high = max(peak, r.Peak), min(low, r.cost()), max(high, r.cost())
	}
	against := func(r result) float64 { return ratio(r.cost(), costs, r.key()) }
	furthest := math.NaN()
	for _, r := range rows {
		if v := against(r); !(v <= furthest) && !math.IsNaN(v) {
			furthest = v
		}
	}
	setting := rows[0].Setting
	if setting != "" {
		setting += fmt.Sprintf(", of %d", rows[0].Tried)
	}
	return fmt.Sprintf("   %s\t%d/%d\t%s\t%s to %s\t%s\t%s\t%.3g\t%s\n", rows[0].Method, solved, len(rows),
		count(median(rows, result.cost)), count(low), count(high), times(median(rows, against)), times(furthest), peak, setting)
}

func count(v float64) string {
	if math.IsInf(v, 1) {
		return "-"
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

func times(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// median is the upper median over the rows, without those that are not numbers.
func median(rows []result, of func(result) float64) float64 {
	var values []float64
	for _, r := range rows {
		if v := of(r); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// groups splits results by a key, in the order in which keys appear.
func groups[K comparable](all []result, key func(result) K) (split [][]result) {
	at := map[K]int{}
	for _, r := range all {
		i, ok := at[key(r)]
		if !ok {
			i = len(split)
			at[key(r)] = i
			split = append(split, nil)
		}
		split[i] = append(split[i], r)
	}
	return split
}

// worst lists, for each of multirate's methods, the problems on which it
// failed, rose furthest above the start, and lost by the largest factor, with the
// command that repeats them.
func worst(all []result, o options) string {
	var b strings.Builder
	costs := costsOf(all, reference)
	for _, rows := range groups(all, func(r result) string { return r.Method }) {
		if !rows[0].contender.Ours || o.worst < 1 {
			continue
		}
		bad := slices.DeleteFunc(slices.Clone(rows), func(r result) bool {
			return r.Reached && r.Peak <= 1.05 && !(ratio(r.cost(), costs, r.key()) > 1)
		})
		if len(bad) == 0 {
			continue
		}
		slices.SortStableFunc(bad, func(a, b result) int {
			return cmp.Or(-cmp.Compare(a.harm(costs), b.harm(costs)), strings.Compare(a.key(), b.key()))
		})
		fmt.Fprintf(&b, "\n%s: %d of %d problems lost to %s, unsolved or with a peak above 1.05; the worst:\n", rows[0].Method, len(bad), len(rows), reference)
		for _, r := range bad[:min(len(bad), o.worst)] {
			fmt.Fprintf(&b, "   %s: %s gradients, %s x %s, peak %.3g, end: %s\n      go run ./bench/convergence -families '^%s$' -seeds 1 -first-seed %d -sizes %d -targets %g -methods '^(%s|%s)$'\n",
				r.problem, count(r.cost()), times(ratio(r.cost(), costs, r.key())), reference, r.Peak, r.End,
				r.family.Name, r.seed, r.size, r.family.Goal.Value, strings.ReplaceAll(r.Method, "+", `\+`), reference)
		}
	}
	return b.String()
}

// harm orders what is worth a look: the peak and the ratio, whichever is larger.
func (r result) harm(costs map[string]float64) float64 {
	worse := r.Peak
	if v := ratio(r.cost(), costs, r.key()); v > worse {
		worse = v
	}
	if !r.Reached {
		worse = max(worse, 1e3)
	}
	return worse
}

func writeCSV(path string, all []result) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := csv.NewWriter(file)
	rows := [][]string{{"family", "problem", "size", "seed", "parameters", "measure", "target", "method", "setting", "tried",
		"gradients", "products", "reached", "peak", "value", "end", "seconds"}}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	for _, r := range all {
		rows = append(rows, []string{
			r.family.Name, r.problem, strconv.Itoa(r.size), strconv.FormatUint(r.seed, 10), strconv.Itoa(r.dimension),
			r.family.Goal.Measure(), number(r.family.Goal.Value), r.Method, r.Setting, strconv.Itoa(r.Tried),
			strconv.Itoa(r.Gradients), strconv.Itoa(r.Products), strconv.FormatBool(r.Reached),
			number(r.Peak), number(r.Value), r.End, number(r.took.Seconds()),
		})
	}
	return w.WriteAll(rows)
}
