package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "multirate/proto/multirate/journal/v1"
	pb "multirate/proto/multirate/v1"
	"multirate/server/journal"
	"multirate/server/store"
)

const (
	defaultPage = 100
	maxPage     = 1000
	// maxPageBytes ends a page early, so that it fits into the 4 MiB that
	// clients take by default: a run may declare a thousand groups.
	maxPageBytes = 2 << 20
)

// CreateRun implements the RPC of that name.
func (s *Server) CreateRun(ctx context.Context, req *pb.CreateRunRequest) (*pb.CreateRunResponse, error) {
	d, err := declare(req.GetRun())
	if err != nil {
		return nil, err
	}
	if d.run.RunId == "" {
		d.run.RunId = "run-" + strings.ToLower(rand.Text())
	}
	id := d.run.RunId
	state, err := newState(d, s.options.Now())
	if err != nil {
		return nil, err
	}
	key := keyOf(ctx, id)
	for {
		// The event's time is the run's, so that a fold gives the same state.
		view, err := s.begin(ctx, newRun(key, state), func() time.Time { return state.created },
			&journalv1.Event{Change: &journalv1.Event_Created{Created: &journalv1.CreatedEvent{Run: d.run}}})
		if err == nil {
			s.log.Info("run created", "run", key, "dimension", d.run.Dimension, "policy", d.config.Policy)
			return &pb.CreateRunResponse{Run: view}, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return nil, err
		}
		existing, err := s.runs.Get(ctx, key.String())
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted in between
		}
		if err != nil {
			return nil, storeError(err, id, s.options.MaxRuns)
		}
		return s.recreated(existing, d)
	}
}

// begin adds a run with its first event. The error is [store.ErrExists], or a
// status.
func (s *Server) begin(ctx context.Context, r *run, now func() time.Time, first *journalv1.Event) (*pb.Run, error) {
	owner := s.tenants.get(r.key.tenant)
	if s.options.Cluster != nil {
		return s.beginShared(ctx, r, owner, now, first)
	}
	if !take(&owner.runs, owner.limits.Runs) {
		if _, err := s.runs.Get(ctx, r.key.String()); err == nil {
			return nil, store.ErrExists
		}
		return nil, tooManyOfTenant(owner)
	}
	kept := false
	defer func() {
		if !kept {
			owner.runs.Add(-1)
		}
	}()
	r.ledger = s.newLedger(r.key)
	r.mu.Lock() // until the event is kept nobody sees the run
	defer r.mu.Unlock()
	if err := s.runs.Create(ctx, r.key.String(), r); errors.Is(err, store.ErrExists) {
		return nil, err
	} else if err != nil {
		return nil, storeError(err, r.id, s.options.MaxRuns)
	}
	err := r.record(now, first)
	if errors.Is(err, journal.ErrConflict) {
		// What is there is of a run whose creation nobody was told of.
		if err = r.ledger.clear(ctx); err == nil {
			err = r.record(now, first)
		}
	}
	if err == nil {
		kept = true
		return r.view(), nil
	}
	r.deleted = true
	if r.ledger != nil {
		r.ledger.removed = true
	}
	r.end(errDeleted)
	if _, gone := s.runs.Delete(ctx, r.key.String()); gone != nil {
		s.log.Error("run not taken back", "run", r.key, "error", gone)
	}
	return nil, journalError(r.id, err)
}

func tooManyOfTenant(t *tenant) error {
	return refuseQuota(ReasonTooManyRuns, "tenant:"+t.name, "runs", int64(t.limits.Runs),
		"there are %d runs, as many as a tenant may have: delete finished ones with DeleteRun", t.limits.Runs)
}

// recreated answers the repetition of an earlier CreateRun.
func (s *Server) recreated(r *run, d *declaration) (*pb.CreateRunResponse, error) {
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	if !proto.Equal(r.decl.run, d.run) {
		return nil, runExists(r.id, "it was declared otherwise; choose another run_id, or delete it with DeleteRun first")
	}
	return &pb.CreateRunResponse{Run: r.view()}, nil
}

// GetRun implements the RPC of that name.
func (s *Server) GetRun(ctx context.Context, req *pb.GetRunRequest) (*pb.GetRunResponse, error) {
	r, err := s.lookup(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	return &pb.GetRunResponse{Run: r.view()}, nil
}

// ListRuns implements the RPC of that name.
func (s *Server) ListRuns(ctx context.Context, req *pb.ListRunsRequest) (*pb.ListRunsResponse, error) {
	var v violations
	v.within("page_size", int64(req.GetPageSize()), 0, maxPage, "0 means 100")
	validateLabels(&v, "labels", req.GetLabels())
	after, ok := parsePageToken(req.GetPageToken())
	if !ok {
		v.add(ReasonInvalidFormat, "page_token", "is not one of this service's: send next_page_token as it was received, or none for the first page")
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	return s.page(ctx, after, size, req.GetLabels())
}

func (s *Server) page(ctx context.Context, after string, size int, labels map[string]string) (*pb.ListRunsResponse, error) {
	page, bytes := &pb.ListRunsResponse{}, 0
	tenant := tenantOf(ctx)
	if s.options.Cluster != nil {
		return s.sharedPage(ctx, runKey{tenant, after}, size, labels)
	}
	for {
		if ctx.Err() != nil {
			return nil, interrupted(ctx)
		}
		runs, err := s.runs.List(ctx, runKey{tenant, after}.String(), maxPage)
		if err != nil {
			return nil, coreError(err)
		}
		for _, r := range runs {
			if len(page.Runs) == size || bytes > maxPageBytes {
				page.NextPageToken = pageToken(after)
				return page, nil
			}
			if r.key.tenant != tenant {
				return page, nil
			}
			view, err := r.listed(labels)
			if err != nil {
				return nil, err
			}
			if view != nil {
				page.Runs = append(page.Runs, view)
				bytes += proto.Size(view)
			}
			after = r.id
		}
		if len(runs) < maxPage {
			return page, nil
		}
	}
}

// listed is the run's view, or nil when it was deleted, is damaged or lacks a
// label.
func (r *run) listed(labels map[string]string) (*pb.Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		if r.deleted || r.ledger.broken != nil {
			return nil, nil
		}
		return nil, err
	}
	if !labelled(r.decl.run, labels) {
		return nil, nil
	}
	return r.view(), nil
}

func labelled(r *pb.Run, labels map[string]string) bool {
	for k, want := range labels {
		if got, ok := r.Labels[k]; !ok || got != want {
			return false
		}
	}
	return true
}

// A page token is "1" and the last id passed, in base64.
func pageToken(after string) string { return base64.RawURLEncoding.EncodeToString([]byte("1" + after)) }

func parsePageToken(token string) (after string, ok bool) {
	if token == "" {
		return "", true
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	after, versioned := strings.CutPrefix(string(b), "1")
	return after, err == nil && versioned && validRunID(after)
}

// DeleteRun implements the RPC of that name.
func (s *Server) DeleteRun(ctx context.Context, req *pb.DeleteRunRequest) (*pb.DeleteRunResponse, error) {
	r, err := s.lookup(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.forget(s.options.Now); err != nil {
		return nil, err
	}
	if _, err := s.runs.Delete(ctx, r.key.String()); err != nil {
		return nil, storeError(err, r.id, s.options.MaxRuns) // another call has deleted it
	}
	s.release(ctx, r)
	s.tenants.get(r.key.tenant).runs.Add(-1)
	s.log.Info("run deleted", "run", r.key)
	return &pb.DeleteRunResponse{}, nil
}
