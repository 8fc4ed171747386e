// Package estimator recovers the eigenvalues of a loss's Hessian from what a
// training process can afford to send, and groups them into scales.
//
// There are two roads to one [Spectrum]:
//
//   - [Window] holds the last gradients (or linear sketches of them) of a
//     gradient descent run and solves the sketched Rayleigh-Ritz problem on
//     their Krylov space. It spends no Hessian-vector product.
//   - [Lanczos] takes Hessian-vector products one at a time, reorthogonalises
//     fully, and bounds the error of every Ritz value.
//
// [DetectScales] then finds the gaps between groups of eigenvalues.
//
// The package is pure: no clock, no I/O, no goroutine, no randomness that is
// not a seed. The same inputs give the same bits.
package estimator
