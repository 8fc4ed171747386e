// Package multirate is the Go client of the learning rate service.
//
// A trainer declares its run once, and then, at every step, hands over its loss
// and its gradient and gets the learning rate for x <- x - rate * gradient:
//
//	client, err := multirate.Dial(ctx, "unix:///tmp/multirate.sock")
//	run, err := client.NewRun(ctx, multirate.RunConfig{
//		Dimension:      int64(len(x)),
//		LossLowerBound: multirate.Known(0),
//	})
//	for range steps {
//		loss := lossAndGradient(x, g)
//		advice, err := run.Rate(ctx, loss, g)
//		for i := range x {
//			x[i] -= advice.LearningRate * g[i]
//		}
//	}
//
// Only the squared norm and a sketch of about 1 KiB leave the trainer; no
// gradient is stored or sent.
//
// Beside the client stand a few tools for trainers that can afford more: a
// finite-difference Hessian-vector product, Hutchinson's estimate of the
// Hessian's diagonal, gradient descent in diagonally scaled variables, and a
// Lanczos run on the trainer's own device.
package multirate
