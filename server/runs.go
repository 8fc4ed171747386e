package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
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
	r := newRun(id, state)
	for {
		err := s.runs.Create(ctx, id, r)
		if err == nil {
			s.log.Info("run created", "run", id, "dimension", d.run.Dimension, "policy", d.config.Policy)
			return s.created(r)
		}
		if !errors.Is(err, store.ErrExists) {
			return nil, storeError(err, id, s.options.MaxRuns)
		}
		existing, err := s.runs.Get(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted in between
		}
		if err != nil {
			return nil, storeError(err, id, s.options.MaxRuns)
		}
		return s.recreated(existing, d)
	}
}

func (s *Server) created(r *run) (*pb.CreateRunResponse, error) {
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	return &pb.CreateRunResponse{Run: r.view()}, nil
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
	for {
		if ctx.Err() != nil {
			return nil, interrupted(ctx)
		}
		runs, err := s.runs.List(ctx, after, maxPage)
		if err != nil {
			return nil, coreError(err)
		}
		for _, r := range runs {
			if len(page.Runs) == size || bytes > maxPageBytes {
				page.NextPageToken = pageToken(after)
				return page, nil
			}
			if view := r.listed(labels); view != nil {
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

// listed is the run's view, or nil when it was deleted or lacks a label.
func (r *run) listed(labels map[string]string) *pb.Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted {
		return nil
	}
	for k, want := range labels {
		if got, ok := r.decl.run.Labels[k]; !ok || got != want {
			return nil
		}
	}
	return r.view()
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
	if _, err := s.lookup(ctx, req.GetRunId()); err != nil {
		return nil, err
	}
	r, err := s.runs.Delete(ctx, req.GetRunId())
	if err != nil {
		return nil, storeError(err, req.GetRunId(), s.options.MaxRuns)
	}
	r.delete(s.options.Now)
	s.log.Info("run deleted", "run", r.id)
	return &pb.DeleteRunResponse{}, nil
}
