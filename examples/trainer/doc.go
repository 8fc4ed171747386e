// Package trainer is a training loop to copy: plain gradient descent at the
// rates that the service advises, over the Go client.
//
// [Train] is the loop. The rest is what a trainer may want around it: what it
// tells the service beside the loss ([Tier]), a frozen diagonal preconditioner
// ([Config.DiagonalProbes]), and the count of what all of it costs ([Result]).
package trainer
