package server

import (
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "multirate/proto/multirate/v1"
)

// watcher is a bounded queue of events between a run and one WatchRun. When it
// is full the oldest event gives way, so that a slow watcher sees the present
// and the run never waits.
type watcher struct {
	mu     sync.Mutex
	events []*pb.WatchRunResponse // ring: the oldest at first
	first  int
	count  int
	missed int64
	// ready holds a token whenever there may be an event.
	ready chan struct{}
	// over holds why there will be no more, once the run has left this replica.
	over chan error
}

func newWatcher(size int) *watcher {
	return &watcher{events: make([]*pb.WatchRunResponse, size), ready: make(chan struct{}, 1), over: make(chan error, 1)}
}

func (w *watcher) push(e *pb.WatchRunResponse) {
	w.mu.Lock()
	if w.count == len(w.events) {
		w.first = (w.first + 1) % len(w.events)
		w.count--
		w.missed++
	}
	w.events[(w.first+w.count)%len(w.events)] = e
	w.count++
	w.mu.Unlock()
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// pop takes the oldest event, or nil. Events are shared between watchers, so
// one that has missed some gets a copy.
func (w *watcher) pop() *pb.WatchRunResponse {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		return nil
	}
	e := w.events[w.first]
	w.events[w.first] = nil
	w.first = (w.first + 1) % len(w.events)
	w.count--
	if w.missed > 0 {
		e = &pb.WatchRunResponse{Time: e.Time, Event: e.Event, MissedCount: w.missed}
		w.missed = 0
	}
	return e
}

// publish hands an event to all watchers. The caller holds the run's lock, and
// skips making the event when there is none.
func (r *run) publish(at time.Time, e *pb.WatchRunResponse) {
	e.Time = timestamppb.New(at)
	for w := range r.watchers {
		w.push(e)
	}
}

func (r *run) watch(size int) (*watcher, error) {
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	w := newWatcher(size)
	if r.watchers == nil {
		r.watchers = make(map[*watcher]struct{})
	}
	r.watchers[w] = struct{}{}
	return w, nil
}

func (r *run) unwatch(w *watcher) {
	r.mu.Lock()
	delete(r.watchers, w)
	r.mu.Unlock()
}

// delete ends the run: calls in flight are aborted, watchers told. The caller
// holds the lock.
func (r *run) delete(now func() time.Time) {
	r.deleted = true
	r.end(errDeleted)
	if len(r.watchers) > 0 {
		r.publish(now(), &pb.WatchRunResponse{Event: &pb.WatchRunResponse_Deleted{Deleted: &pb.DeletedEvent{}}})
	}
}

// WatchRun implements the RPC of that name.
func (s *Server) WatchRun(req *pb.WatchRunRequest, stream grpc.ServerStreamingServer[pb.WatchRunResponse]) error {
	ctx := stream.Context()
	r, err := s.lookup(ctx, req.GetRunId())
	if err != nil {
		return err
	}
	w, err := r.watch(s.options.WatchBuffer)
	if err != nil {
		return err
	}
	defer r.unwatch(w)
	// The header tells the client that it will miss nothing from here on.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		for e := w.pop(); e != nil; e = w.pop() {
			if err := stream.Send(e); err != nil {
				return err
			}
			if e.GetDeleted() != nil {
				return ended(r.id, errDeleted)
			}
		}
		select {
		case <-w.ready:
		case err := <-w.over:
			return err
		case <-ctx.Done():
			return interrupted(ctx)
		case <-s.stopping:
			return stopping()
		}
	}
}
