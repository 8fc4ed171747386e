package baseline

import "multirate/examples/problems"

// Best runs a method over its grid and returns the run that met the target
// with the fewest gradients, together with all runs in the order they were
// made. Ties go to the earlier run.
//
// Once a setting has met the target, the others get one gradient less than it
// took ([EndBeaten]). Where the winner lies near an end of the grid, the grid is
// extended beyond that end until the winner lies well inside ([Axis]) or the
// axis has run out. If no setting meets the target within budget gradients, best is the run
// with the lowest final loss and Reached is false.
//
// progress, if not nil, is called after every run.
func Best(m Method, p problems.Problem, target Target, budget int, progress func(Result)) (best Result, all []Result) {
	axes := m.Grid(p)
	tried := map[string]bool{}
	var winner []int
	for {
		for _, at := range positions(axes) {
			if tried[key(at)] {
				continue
			}
			tried[key(at)] = true
			allowed := budget
			if best.Reached {
				allowed = best.Gradients - 1
			}
			if allowed < 1 && len(all) > 0 {
				return best, all
			}
			r := m.Run(p, settingAt(axes, at), target, allowed)
			if r.End == EndBudget && allowed < budget {
				r.End = EndBeaten
			}
			all = append(all, r)
			if progress != nil {
				progress(r)
			}
			if len(all) == 1 || r.better(best) {
				best, winner = r, at
			}
		}
		if !extend(axes, winner, best.End == EndDiverged) {
			return best, all
		}
	}
}
