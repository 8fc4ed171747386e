// Package suite holds the contests of the convergence benchmark: the families of
// problems, the contenders, and how one is measured on the other.
package suite

import (
	"multirate/examples/problems"
)

// tableTarget is the excess to which real tables are solved here.
const tableTarget = 1e-6

// Families are the problems of the catalogue and the random ones, each with the
// target that it is measured at.
func Families() []problems.Entry {
	all := problems.Catalogue()
	for i := range all {
		if !all[i].Seeded {
			all[i].Goal = problems.Goal{Excess: true, Value: tableTarget}
		}
	}
	return append(all, Random())
}
