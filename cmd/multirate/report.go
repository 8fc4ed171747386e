package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// reportText is the final table of each contest, with who won.
func reportText(contests []*contest) string {
	var b strings.Builder
	for _, c := range contests {
		rows := append([][]string{{"", "", "gradients", c.Goal.Measure(), "peak loss", "time", "setting"}}, c.rows()...)
		fmt.Fprintf(&b, "\n%s: %s parameters, to %s\n\n%s", c.Title, grouped(c.Problem.Dim()), c.Goal, table("llrrrrl", rows))
		if verdicts := c.verdicts(); len(verdicts) > 0 {
			fmt.Fprintf(&b, "\n   %s\n", strings.Join(verdicts, "\n   "))
		}
	}
	return b.String()
}

// rows are a contest's lines, multirate's first.
func (c *contest) rows() (rows [][]string) {
	bound := c.Problem.LowerBound()
	for _, o := range c.ours {
		setting := "none"
		if n := o.result.Products; n > 0 {
			setting = fmt.Sprintf("none; %s Hessian-vector products, counted as %s", grouped(n), grouped(2*n))
		}
		rows = append(rows, c.row(o.name, o.result.Reached, o.result.Gradients, o.result.Loss,
			(o.result.Peak-bound)/(c.First-bound), o.took, setting))
	}
	for _, t := range c.theirs {
		rows = append(rows, c.row(t.label, t.Reached, t.Gradients, t.Final, t.Peak, t.took,
			fmt.Sprintf("%s, of %d tried", t.Setting, t.tried)))
	}
	return rows
}

func (c *contest) row(name string, reached bool, gradients int, loss, peak float64, took time.Duration, setting string) []string {
	count := grouped(gradients)
	if !reached {
		count = "> " + grouped(max(gradients, c.Budget))
	}
	return []string{"", name, count, fmt.Sprintf("%.1e", c.Value(loss)), fmt.Sprintf("%.2f", peak),
		fmt.Sprintf("%.1f s", took.Seconds()), setting}
}

// verdicts say for each of ours how it stands against the best of the others,
// whoever won.
func (c *contest) verdicts() (lines []string) {
	best, name := math.Inf(1), ""
	for _, t := range c.theirs {
		if t.Reached && float64(t.Gradients) < best {
			best, name = float64(t.Gradients), t.label
		}
	}
	for _, o := range c.ours {
		times := best / float64(o.result.Gradients)
		verdict := ""
		switch {
		case len(c.theirs) == 0:
			continue
		case !o.result.Reached && name == "":
			verdict = "did not get there, nor did the others"
		case !o.result.Reached:
			verdict = fmt.Sprintf("did not get there; %s did", name)
		case name == "":
			verdict = fmt.Sprintf("the others need more than %.1f times as many gradients", float64(c.Budget)/float64(o.result.Gradients))
		case times >= 1:
			verdict = fmt.Sprintf("%s needs %.1f times as many gradients", name, times)
		default:
			verdict = fmt.Sprintf("loses; %s needs only %.2f times as many gradients", name, times)
		}
		lines = append(lines, o.name+": "+verdict)
	}
	return lines
}

const reading = `
gradients    what training took: each evaluation of loss and gradient, and 2 for each
             Hessian-vector product. "> n": not there after n.
excess loss  (loss - least)/(first - least): 1 at the start, 0 at the minimum.
peak loss    the largest loss over the loss at the start.
time         for multirate its one run, each step a call to the service over a socket;
             for the others their whole grid, in process, sharing the cores.
setting      multirate has none: it is the same untuned service on every problem. The
             others get the best of a grid, at no charge: constant rates 10^(k/4)/L, with
             L the largest curvature at the start, and Adam's rates in half decades from
             1e-5 to 10. A grid is extended until its best lies inside.
`
