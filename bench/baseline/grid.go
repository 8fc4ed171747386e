package baseline

import (
	"fmt"
	"math"
	"slices"

	"multirate/examples/problems"
)

// Axis is one direction of a grid. Set writes the value at position k, with
// First <= k <= Last to begin with. The range grows, within Least and Most,
// until Margin positions have been tried on either side of the winner: final
// losses need not be unimodal in a rate that overshoots.
type Axis struct {
	First, Last int
	Least, Most int
	Margin      int
	Set         func(s *Setting, k int)
}

// rateAxis holds the rates 10^(k/4)/L, L the curvature at the start: a decade
// and a half to either side at first, at most fifteen, and a decade to either
// side of the winner.
func rateAxis(p problems.Problem) Axis {
	unit := 1 / Curvature(p)
	return Axis{First: -6, Last: 6, Least: -60, Most: 60, Margin: 4, Set: func(s *Setting, k int) {
		s.Rate = unit * math.Pow(10, float64(k)/4)
	}}
}

// momentumAxis holds 0, 0.5, 0.9, 0.95, 0.99 and 0.999, and if need be 0.9999
// and 0.99999.
func momentumAxis() Axis {
	values := []float64{0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999}
	return Axis{First: 0, Last: 5, Least: 0, Most: len(values) - 1, Margin: 1, Set: func(s *Setting, k int) {
		s.Momentum = values[k]
	}}
}

// positions lists every position of the grid, the first axis slowest, each
// axis from its middle outwards: good settings come early and cut short the
// rest.
func positions(axes []Axis) [][]int {
	all := [][]int{nil}
	for _, a := range axes {
		var longer [][]int
		for _, head := range all {
			for _, k := range a.outwards() {
				longer = append(longer, append(slices.Clone(head), k))
			}
		}
		all = longer
	}
	return all
}

// outwards lists First..Last from the middle: 0, 1, -1, 2, -2, ...
func (a Axis) outwards() []int {
	middle := a.First + (a.Last-a.First)/2
	list := []int{middle}
	for d := 1; len(list) < a.Last-a.First+1; d++ {
		if middle+d <= a.Last {
			list = append(list, middle+d)
		}
		if middle-d >= a.First {
			list = append(list, middle-d)
		}
	}
	return list
}

// settingAt returns the setting at a position.
func settingAt(axes []Axis, at []int) Setting {
	var s Setting
	for i, a := range axes {
		a.Set(&s, at[i])
	}
	return s
}

// extend widens by one position every axis at whose end the winner lacks its
// margin, and says whether there was any. Where even the winner diverged no
// end can be told from another; then the first axis, the rate, grows downwards.
func extend(axes []Axis, winner []int, diverged bool) bool {
	wider := false
	for i := range axes {
		a := &axes[i]
		if a.Least < a.First && (!diverged && winner[i]-a.First < a.Margin || diverged && i == 0) {
			a.First--
			wider = true
		}
		if a.Most > a.Last && !diverged && a.Last-winner[i] < a.Margin {
			a.Last++
			wider = true
		}
	}
	return wider
}

func key(at []int) string { return fmt.Sprint(at) }

// factorAxis holds 10^(k/4), a decade to either side of 1.
func factorAxis() Axis {
	return Axis{First: -4, Last: 4, Least: -16, Most: 16, Margin: 2, Set: func(s *Setting, k int) {
		s.Rate = math.Pow(10, float64(k)/4)
	}}
}
