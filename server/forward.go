package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"

	clusterv1 "multirate/proto/multirate/cluster/v1"
	pb "multirate/proto/multirate/v1"
	"multirate/server/cluster"
)

const (
	// patience is how long a call waits for a run whose owner, or whose journal,
	// is changing. It is longer than NATS takes to elect a leader, at most 9 s
	// and a vote.
	patience = 15 * time.Second
	// firstWait and longestWait lie between two attempts.
	firstWait   = 20 * time.Millisecond
	longestWait = 250 * time.Millisecond
	// answerWithin is the time after which a call is sent to its owner again. It
	// is that of a lease, after which a dead owner is known to be dead.
	answerWithin = 2 * time.Second
)

// owners remembers which replica answered for a run last, so that most forwarded
// calls cost one question.
type owners struct {
	mu    sync.Mutex
	byRun map[string]*cluster.Elsewhere
}

func (o *owners) get(run string) *cluster.Elsewhere {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byRun[run]
}

func (o *owners) set(run string, owner *cluster.Elsewhere, most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byRun == nil || len(o.byRun) >= most {
		o.byRun = map[string]*cluster.Elsewhere{} // a fresh one costs some questions
	}
	o.byRun[run] = owner
}

func (o *owners) drop(run string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byRun, run)
}

// forwardedKey marks calls that came from another replica.
type forwardedKey struct{}

// outcome says what is known of an attempt that failed.
type outcome int

const (
	final   outcome = iota // it is the call's answer
	undone                 // nothing has happened
	unknown                // it may have taken effect
)

// shareUnary answers a call wherever its run is, and waits while that changes.
func (s *Server) shareUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if s.options.Cluster == nil || unguarded(info.FullMethod) {
		return handler(ctx, req)
	}
	deadline := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		resp, known, err := s.attempt(ctx, req, info.FullMethod, handler)
		if known == final || known == unknown && !repeatable(req) || time.Now().After(deadline) {
			noRetryHere(ctx, err)
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, interrupted(ctx)
		case <-s.stopping:
			return resp, err
		case <-time.After(wait):
		}
	}
}

// noRetryHere tells gRPC's own retries to leave a call alone that belongs to
// another replica (gRPC proposal A6, "pushback").
func noRetryHere(ctx context.Context, err error) {
	var elsewhere *movedError
	if errors.As(err, &elsewhere) {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1")) // a forwarded call has none
	}
}

// repeatable reports whether a call has the effect of one when it is made twice.
func repeatable(req any) bool {
	switch r := req.(type) {
	case *pb.CreateRunRequest:
		return r.GetRun().GetRunId() != ""
	case *pb.RestoreRunRequest:
		return r.Overwrite
	case *pb.ReportLanczosRequest:
		return false
	}
	return true
}

// attempt makes a call here, or at the run's owner.
func (s *Server) attempt(ctx context.Context, req any, method string, handler grpc.UnaryHandler) (any, outcome, error) {
	var name string
	if r, ok := req.(interface{ GetRunId() string }); ok {
		name = keyOf(ctx, r.GetRunId()).String()
	}
	forwarded, _ := ctx.Value(forwardedKey{}).(bool)
	owner := s.owners.get(name)
	if owner == nil || forwarded {
		resp, err := handler(ctx, req)
		var elsewhere *movedError
		if !errors.As(err, &elsewhere) {
			return resp, outcomeOf(err), err
		}
		if forwarded {
			return nil, final, err // the other replica looks for the owner again
		}
		owner = elsewhere.owner
	}
	resp, known, err := s.forward(ctx, owner, method, req)
	if name != "" {
		if known == final {
			s.owners.set(name, owner, s.options.MaxRuns)
		} else {
			s.owners.drop(name)
		}
	}
	return resp, known, err
}

// outcomeOf reads a status of this service.
func outcomeOf(err error) outcome {
	if err == nil || status.Code(err) != codes.Unavailable {
		return final
	}
	switch errorReason(err) {
	case ReasonJournalUnavailable:
		return unknown
	case ReasonOwnedElsewhere:
		return undone
	}
	return final
}

func errorReason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

// forward makes a call at the run's owner.
func (s *Server) forward(ctx context.Context, owner *cluster.Elsewhere, method string, req any) (any, outcome, error) {
	m, ok := req.(proto.Message)
	desc := unaryMethod(method)
	if !ok || desc == nil {
		return nil, final, moved("", owner)
	}
	call, err := encodeCall(ctx, method, m)
	if err != nil {
		return nil, final, coreError(err)
	}
	limit := patience
	if repeatable(req) {
		limit = answerWithin
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if s.metrics != nil {
		s.metrics.forwarded.Inc()
	}
	answer, err := s.options.Cluster.Forward(ctx, owner.Lease, call)
	switch {
	case errors.Is(err, cluster.ErrTooLarge):
		return nil, final, moved(runIDOf(req), owner) // the client takes it there
	case errors.Is(err, cluster.ErrGone):
		return nil, undone, journalError(runIDOf(req), err)
	case err != nil:
		return nil, unknown, journalError(runIDOf(req), err)
	}
	resp, err := decodeAnswer(method, answer)
	return resp, outcomeOf(err), err
}

func runIDOf(req any) string {
	if r, ok := req.(interface{ GetRunId() string }); ok {
		return r.GetRunId()
	}
	return ""
}

func encodeCall(ctx context.Context, method string, m proto.Message) ([]byte, error) {
	request, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	call := &clusterv1.ForwardRequest{Method: method, Tenant: tenantOf(ctx), Request: request}
	if deadline, ok := ctx.Deadline(); ok {
		call.Timeout = durationpb.New(time.Until(deadline))
	}
	return proto.Marshal(call)
}

func decodeAnswer(method string, b []byte) (any, error) {
	var answer clusterv1.ForwardResponse
	if err := proto.Unmarshal(b, &answer); err != nil {
		return nil, refusef(codes.Internal, ReasonInternal, "the owner's answer can't be read: %v", err)
	}
	if answer.GetStatus() != nil {
		var st spb.Status
		if err := proto.Unmarshal(answer.GetStatus(), &st); err != nil {
			return nil, refusef(codes.Internal, ReasonInternal, "the owner's status can't be read: %v", err)
		}
		return nil, status.ErrorProto(&st)
	}
	resp := responseOf(method)
	if err := proto.Unmarshal(answer.GetResponse(), resp); err != nil {
		return nil, refusef(codes.Internal, ReasonInternal, "the owner's answer can't be read: %v", err)
	}
	return resp, nil
}

const methodPrefix = "/multirate.v1.LearningRateService/"

// unaryMethod describes a method of the service; nil when there is none of that
// name.
func unaryMethod(full string) *grpc.MethodDesc {
	for i, m := range pb.LearningRateService_ServiceDesc.Methods {
		if full == methodPrefix+m.MethodName {
			return &pb.LearningRateService_ServiceDesc.Methods[i]
		}
	}
	return nil
}

// responseOf is an empty response of a method.
func responseOf(full string) proto.Message {
	methods := pb.File_multirate_v1_learning_rate_service_proto.Services().ByName("LearningRateService").Methods()
	for i := range methods.Len() {
		if m := methods.Get(i); methodPrefix+string(m.Name()) == full {
			if kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName()); err == nil {
				return kind.New().Interface()
			}
		}
	}
	return nil
}

// answerForwarded answers a call that another replica hands on, which has
// authenticated its tenant.
func (s *Server) answerForwarded(b []byte) []byte {
	var call clusterv1.ForwardRequest
	if err := proto.Unmarshal(b, &call); err != nil {
		return answerOf(nil, refusef(codes.Internal, ReasonInternal, "the call can't be read: %v", err))
	}
	method := unaryMethod(call.GetMethod())
	if method == nil || !validRunID(call.GetTenant()) {
		return answerOf(nil, refusef(codes.Unimplemented, ReasonNotOffered, "method %.80q is not forwarded", call.GetMethod()))
	}
	ctx := context.WithValue(context.WithValue(context.Background(), tenantKey{}, call.GetTenant()), forwardedKey{}, true)
	if call.GetTimeout() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, call.GetTimeout().AsDuration())
		defer cancel()
	}
	resp, err := method.Handler(s, ctx, func(m any) error {
		return proto.Unmarshal(call.GetRequest(), m.(proto.Message))
	}, s.guarded)
	return answerOf(resp, err)
}

// guarded is what a forwarded call goes through of the interceptors: its replica
// has admitted it.
func (s *Server) guarded(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return RecoverUnary(s.log)(ctx, req, info, func(ctx context.Context, req any) (any, error) {
		return s.shareUnary(ctx, req, info, handler)
	})
}

func answerOf(resp any, err error) []byte {
	answer := &clusterv1.ForwardResponse{}
	var b []byte
	if err != nil {
		b, err = proto.Marshal(status.Convert(err).Proto())
		answer.Outcome = &clusterv1.ForwardResponse_Status{Status: b}
	} else {
		b, err = proto.Marshal(resp.(proto.Message))
		answer.Outcome = &clusterv1.ForwardResponse_Response{Response: b}
	}
	if err == nil {
		b, err = proto.Marshal(answer)
	}
	if err != nil {
		return nil // no answer: the call is made again
	}
	return b
}

// patiently repeats what may be repeated while a run's owner or journal changes.
func patiently[T any](ctx context.Context, s *Server, do func() (T, error)) (T, error) {
	deadline := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		v, err := do()
		if s.options.Cluster == nil || outcomeOf(err) != unknown || time.Now().After(deadline) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-s.stopping:
			return v, stopping()
		case <-time.After(wait):
		}
	}
}

// each does something for all of a list, a few at a time.
func each[T any](all []T, do func(T)) {
	var working errgroup.Group
	working.SetLimit(16)
	for _, v := range all {
		working.Go(func() error {
			do(v)
			return nil
		})
	}
	_ = working.Wait() // none fails
}
