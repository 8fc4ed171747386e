package server

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	journalv1 "multirate/proto/multirate/journal/v1"
	"multirate/server/journal"
)

// history implements multirate.journal.v1.HistoryService.
type history struct {
	journalv1.UnimplementedHistoryServiceServer
	*Server
}

var errEnough = errors.New("latest event reached")

// ExportRun implements the RPC of that name.
func (h history) ExportRun(req *journalv1.ExportRunRequest, stream grpc.ServerStreamingServer[journalv1.ExportRunResponse]) error {
	ctx := stream.Context()
	r, err := h.lookup(ctx, req.GetRunId())
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.ledger == nil {
		r.mu.Unlock()
		return refusef(codes.Unimplemented, ReasonNotOffered, "run %q has no history: this server keeps its runs in memory", r.id)
	}
	err, name, latest := r.usable(), r.ledger.name, r.ledger.last
	if r.ledger.broken != nil {
		err, latest = nil, math.MaxUint64 // all that is left
	}
	r.mu.Unlock()
	if err != nil {
		return err
	}
	err = h.options.Journal.Events(ctx, name, 0, func(e journal.Event) error {
		if e.Sequence > latest {
			return errEnough
		}
		var event journalv1.Event
		if err := proto.Unmarshal(e.Data, &event); err != nil {
			return historyDamaged(r.id, fmt.Errorf("%w: %w", errForeignEvent, err))
		}
		return stream.Send(&journalv1.ExportRunResponse{Event: &event})
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case ctx.Err() != nil:
		return interrupted(ctx)
	case errors.Is(err, journal.ErrUnavailable):
		return journalError(r.id, err)
	}
	return err
}
