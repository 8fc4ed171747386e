package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	journalv1 "multirate/proto/multirate/journal/v1"
	pb "multirate/proto/multirate/v1"
	"multirate/server/cluster"
	"multirate/server/store"
)

// claimWithin bounds the questions of one claim; the call is repeated.
const claimWithin = 3 * time.Second

// errGivenBack ends the life of a run that a stopping replica has handed over,
// errTakenUp that of one which another replica has advised meanwhile.
var (
	errGivenBack = errors.New("run handed over")
	errTakenUp   = errors.New("run advised elsewhere meanwhile")
)

// movedError is the status of a call on a run that another replica owns. Nothing
// was done.
type movedError struct {
	owner *cluster.Elsewhere
	st    *status.Status
}

// Error is the status's.
func (e *movedError) Error() string { return e.st.Err().Error() }

// GRPCStatus names the owner's address in ErrorInfo.
func (e *movedError) GRPCStatus() *status.Status { return e.st }

func moved(id string, owner *cluster.Elsewhere) error {
	st, err := status.New(codes.Unavailable,
		fmt.Sprintf("run %q is advised by the replica at %s: call there", id, owner.Address)).WithDetails(
		&errdetails.ErrorInfo{Reason: ReasonOwnedElsewhere, Domain: Domain, Metadata: map[string]string{"owner": owner.Address}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(100 * time.Millisecond)})
	if err != nil { // only for codes.OK
		return status.Error(codes.Internal, err.Error())
	}
	return &movedError{owner, st}
}

// find looks in the journal for a run that this replica does not know. Whose it
// is shows at the first lock.
func (s *Server) find(ctx context.Context, key runKey) (*run, error) {
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	kept, err := s.hasHistory(ctx, key.String())
	if err != nil {
		return nil, journalError(key.id, err)
	}
	if !kept {
		return nil, runNotFound(key.id)
	}
	r := newRun(key, state{})
	r.ledger = s.newLedger(key)
	r.ledger.stale = true
	err = s.runs.Create(ctx, key.String(), r)
	if err == nil {
		s.tenants.get(key.tenant).runs.Add(1)
	} else if errors.Is(err, store.ErrExists) {
		r, err = s.runs.Get(ctx, key.String()) // by another call meanwhile
	}
	if err != nil {
		return nil, storeError(err, key.id, s.options.MaxRuns)
	}
	return r, nil
}

func (s *Server) hasHistory(ctx context.Context, name string) (bool, error) {
	latest, err := s.options.Journal.Latest(ctx, name)
	if err != nil || latest.Sequence > 0 {
		return err == nil, err
	}
	saved, err := s.options.Journal.Snapshot(ctx, name)
	return saved.State != nil, err
}

// own makes sure that this replica owns the run. Where it had not for a while,
// the state is read again, if another has written since. The caller holds the
// lock.
func (r *run) own() error {
	l := r.ledger
	if l == nil || l.cluster == nil || l.claim.Valid() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), claimWithin)
	defer cancel()
	claim, err := l.cluster.Claim(ctx, l.name)
	var other *cluster.Elsewhere
	if errors.As(err, &other) {
		r.leave(other)
		return moved(r.id, other)
	}
	if err != nil {
		return journalError(r.id, err)
	}
	if !l.stale {
		latest, err := l.journal.Latest(ctx, l.name)
		if err != nil {
			return journalError(r.id, err)
		}
		if latest.Sequence != l.last {
			l.stale, l.broken = true, nil
			r.renew(errTakenUp)
		}
	}
	l.claim = claim
	return nil
}

// renew ends what hangs on the run's state, and begins another life.
func (r *run) renew(cause error) {
	r.end(cause)
	r.life, r.end = context.WithCancelCause(context.Background())
}

// leave ends the run in this replica; its history stays. The caller holds the
// lock.
func (r *run) leave(cause error) {
	r.left = cause
	r.end(cause)
	for w := range r.watchers {
		w.over <- ended(r.id, cause)
	}
	r.ledger.drop()
}

// completeRemoval forgets a run whose owner ended between its tombstone and its
// removal.
func (r *run) completeRemoval() error {
	l := r.ledger
	if l.cluster == nil {
		return nil
	}
	if err := l.journal.Remove(context.Background(), l.name, 0, nil); err != nil {
		return journalError(r.id, err)
	}
	l.removed = true
	l.drop()
	return nil
}

// release lets other replicas claim the run. A failure delays them until the
// lease ends.
func (s *Server) release(ctx context.Context, r *run) {
	l := r.ledger
	if l == nil || l.cluster == nil {
		return
	}
	if err := l.cluster.Release(ctx, l.name, l.claim); err != nil {
		s.log.Warn("run not given back", "run", r.key, "error", err)
	}
	l.claim = nil
}

// handOver saves the runs and gives them back, except for those with an estimate
// under way, for which the stop waits.
func (s *Server) handOver(ctx context.Context) {
	if s.options.Cluster == nil {
		return
	}
	s.options.Cluster.Retire()
	runs, err := s.runs.List(ctx, "", s.options.MaxRuns)
	if err != nil {
		s.log.Warn("runs not handed over", "error", err)
	}
	each(runs, func(r *run) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.estimating || r.deleted || r.left != nil {
			return
		}
		s.save(r, 1)
		s.release(ctx, r)
		r.leave(errGivenBack)
	})
}

// reclaim claims the runs anew whenever this replica's lease had ended, so that
// those which wait for events learn where their run has gone.
func (s *Server) reclaim(ctx context.Context) {
	if s.options.Cluster == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.options.Cluster.Lapsed():
		}
		runs, err := s.runs.List(ctx, "", s.options.MaxRuns)
		if err != nil {
			s.log.Warn("runs not claimed anew", "error", err)
		}
		each(runs, func(r *run) {
			if ctx.Err() == nil && r.lock() == nil {
				r.mu.Unlock()
			}
		})
	}
}

// tooMany counts the runs of the whole cluster. Two that are made at once may
// each be the last that a limit allows.
func (s *Server) tooMany(ctx context.Context, t *tenant) error {
	all, err := s.options.Journal.Count(ctx)
	if err != nil {
		return journalError("", err)
	}
	if all >= s.options.MaxRuns {
		return storeError(store.ErrFull, "", s.options.MaxRuns)
	}
	if t.limits.Runs <= 0 {
		return nil
	}
	ids, err := s.idsOf(ctx, runKey{tenant: t.name})
	if err != nil {
		return err
	}
	if len(ids) >= t.limits.Runs {
		return tooManyOfTenant(t)
	}
	return nil
}

// idsOf are the ids of a tenant's runs in the journal, ascending, behind one.
func (s *Server) idsOf(ctx context.Context, after runKey) (ids []string, err error) {
	names, err := s.options.Journal.Runs(ctx)
	if err != nil {
		return nil, journalError("", err)
	}
	for _, name := range names {
		if key, ok := parseRunKey(name); ok && key.tenant == after.tenant && key.id > after.id {
			ids = append(ids, key.id)
		}
	}
	return ids, nil
}

// beginShared is begin in a cluster, where the run may be known to the journal
// or to another replica alone.
func (s *Server) beginShared(ctx context.Context, r *run, t *tenant, now func() time.Time, first *journalv1.Event) (*pb.Run, error) {
	if _, err := s.lookup(ctx, r.id); err == nil {
		return nil, store.ErrExists
	} else if status.Code(err) != codes.NotFound {
		return nil, err
	}
	if err := s.tooMany(ctx, t); err != nil {
		return nil, err
	}
	r.ledger = s.newLedger(r.key)
	r.mu.Lock() // until the event is kept nobody sees the run
	defer r.mu.Unlock()
	if err := s.runs.Create(ctx, r.key.String(), r); errors.Is(err, store.ErrExists) {
		return nil, err
	} else if err != nil {
		return nil, storeError(err, r.id, s.options.MaxRuns)
	}
	t.runs.Add(1)
	if err := r.own(); err != nil {
		r.abandon()
		return nil, err
	}
	if r.ledger.stale { // made by another replica meanwhile
		return nil, store.ErrExists
	}
	if err := r.record(now, first); err != nil {
		s.release(ctx, r)
		r.abandon()
		return nil, journalError(r.id, err)
	}
	return r.view(), nil
}

// abandon takes a run back that has not begun here. Perhaps its first event is
// kept all the same; then the journal has it.
func (r *run) abandon() {
	if r.left == nil {
		r.leave(errTakenUp)
	}
}

// sharedPage is a page of the runs of all replicas. Those that nobody owns are
// claimed here.
func (s *Server) sharedPage(ctx context.Context, after runKey, size int, labels map[string]string) (*pb.ListRunsResponse, error) {
	ids, err := s.idsOf(ctx, after)
	if err != nil {
		return nil, err
	}
	page, bytes, last := &pb.ListRunsResponse{}, 0, after.id
	for batch := range slices.Chunk(ids, defaultPage) {
		views, err := s.views(ctx, batch)
		if err != nil {
			return nil, err
		}
		for i, view := range views {
			if len(page.Runs) == size || bytes > maxPageBytes {
				page.NextPageToken = pageToken(last)
				return page, nil
			}
			if view != nil && labelled(view, labels) {
				page.Runs = append(page.Runs, view)
				bytes += proto.Size(view)
			}
			last = batch[i]
		}
	}
	return page, nil
}

// views are runs as their owners have them, nil for those that are deleted or
// damaged.
func (s *Server) views(ctx context.Context, ids []string) ([]*pb.Run, error) {
	views := make([]*pb.Run, len(ids))
	var asking errgroup.Group
	asking.SetLimit(16)
	info := &grpc.UnaryServerInfo{Server: s, FullMethod: pb.LearningRateService_GetRun_FullMethodName}
	for i, id := range ids {
		asking.Go(func() error {
			resp, err := s.shareUnary(ctx, &pb.GetRunRequest{RunId: id}, info, func(ctx context.Context, req any) (any, error) {
				return s.GetRun(ctx, req.(*pb.GetRunRequest))
			})
			switch status.Code(err) {
			case codes.OK:
				views[i] = resp.(*pb.GetRunResponse).Run
				return nil
			case codes.NotFound, codes.Aborted, codes.DataLoss:
				return nil
			}
			return err
		})
	}
	return views, asking.Wait()
}
