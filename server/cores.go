package server

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// onAllCores is an [estimator.Parallel] on as many goroutines as can run.
func onAllCores(n int, f func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	var others sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}
