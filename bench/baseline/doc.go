// Package baseline runs the first-order methods that multirate is compared
// with, each with the best setting of a grid, and counts gradients.
//
// One gradient is one call of [problems.Problem.Gradient], which returns the
// loss as well. The call at the start point, the points that a line search
// rejects and the call that finds the target met all count. A target is tested
// at every point at which a gradient is taken and nowhere else, so that no
// method pays for an evaluation which it does not need.
//
// Where a choice had to be made it favours the baseline: the grid costs
// nothing, nor do the gradients that place it ([Curvature]); points which a
// line search rejects do not count towards the peak, yet reach the target.
package baseline
