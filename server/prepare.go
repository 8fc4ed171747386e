package server

import (
	"runtime"
	"sync"
	"time"
)

// flushTime is left to the transport to send an answer before work for the next
// one competes with it: begun at once, that work runs first and doubles the
// latency. 20 us were enough on one machine and a third of what another needed
// (bench/latency: 1.7 empty calls instead of 1.2).
const flushTime = 100 * time.Microsecond

// preparation does work for runs' next steps while their trainers take the
// present ones: at most one core's worth for each core, in the order in which
// the runs asked, and each run once however often it asked. What it is late for,
// the step itself does, so a saturated machine neither queues without bound nor
// prefers a run.
type preparation struct {
	mu      sync.Mutex
	queue   []prepared
	workers int
	// work is done for each run in turn.
	work func(*run)
}

type prepared struct {
	run *run
	due time.Time
}

// soon queues a run.
func (p *preparation) soon(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.queued {
		return
	}
	r.queued = true
	p.queue = append(p.queue, prepared{r, time.Now().Add(flushTime)})
	if p.workers < runtime.GOMAXPROCS(0) {
		p.workers++
		go p.run()
	}
}

// run works until the queue is empty. Under load that is never, which keeps the
// goroutine's stack, grown by the linear algebra, from being grown anew for each
// step.
func (p *preparation) run() {
	for {
		next, ok := p.next()
		if !ok {
			return
		}
		time.Sleep(time.Until(next.due))
		p.work(next.run)
		runtime.Gosched() // calls come first
	}
}

func (p *preparation) next() (prepared, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.workers--
		p.queue = nil
		return prepared{}, false
	}
	next := p.queue[0]
	p.queue[0] = prepared{} // the run may be deleted before the array is
	p.queue = p.queue[1:]
	next.run.queued = false
	return next, true
}

// prepare does most of what the controller would spend on the next step, and
// saves a snapshot if it is time. A run that is locked is in a call, which will
// queue it again.
func (s *Server) prepare(r *run) {
	if !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	r.controller.Prepare()
	s.save(r, snapshotEvery)
}
