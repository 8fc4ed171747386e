package multirate

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	multiratev1 "multirate/proto/multirate/v1"
)

// mostHops is how often a call follows a run that moves between the replicas of
// a service.
const mostHops = 4

// reasonElsewhere is that of a call which another replica must take.
const reasonElsewhere = "OWNED_ELSEWHERE"

// replicas are connections to the replicas of a service that calls were sent on
// to. They are made as needed and stay until the client is closed.
type replicas struct {
	opts []grpc.DialOption

	mu        sync.Mutex
	byAddress map[string]*grpc.ClientConn
}

// ownerOf is the address of the replica that a refused call belongs to, "" for
// any other error.
func ownerOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == reasonElsewhere {
			return info.GetMetadata()["owner"]
		}
	}
	return ""
}

// follow is a connection to the replica that an error names; nil when it names
// none.
func (r *replicas) follow(err error) *grpc.ClientConn {
	address := ownerOf(err)
	if address == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn := r.byAddress[address]; conn != nil {
		return conn
	}
	conn, err := connect(address, r.opts)
	if err != nil {
		return nil // the address is none; the call fails as it did
	}
	if r.byAddress == nil {
		r.byAddress = map[string]*grpc.ClientConn{}
	}
	r.byAddress[address] = conn
	return conn
}

func (r *replicas) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.byAddress {
		_ = conn.Close()
	}
	r.byAddress = nil
}

// unary makes a call again where it belongs. Replicas forward what they can, so
// that this is for the largest messages alone.
func (r *replicas) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	for range mostHops {
		conn := r.follow(err)
		if conn == nil {
			return err
		}
		err = conn.Invoke(ctx, method, req, reply, opts...)
	}
	return err
}

// stream opens a stream of the service's messages again where it belongs, if its
// first answer says so. Streams of the trainer's messages are opened again by
// whoever has those.
func (r *replicas) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil || desc.ClientStreams {
		return s, err
	}
	return &followed{ClientStream: s, open: func(err error) (grpc.ClientStream, error) {
		conn := r.follow(err)
		if conn == nil {
			return nil, err
		}
		return conn.NewStream(ctx, desc, method, opts...)
	}}, nil
}

// followed is a stream of the service's messages.
type followed struct {
	grpc.ClientStream
	open    func(refused error) (grpc.ClientStream, error)
	request any
	hops    int
	begun   bool
}

// SendMsg keeps the one request.
func (f *followed) SendMsg(m any) error {
	f.request = m
	return f.ClientStream.SendMsg(m)
}

// RecvMsg goes to the run's owner before the first message.
func (f *followed) RecvMsg(m any) error {
	for {
		err := f.ClientStream.RecvMsg(m)
		if err == nil || f.begun || f.hops == mostHops {
			f.begun = true
			return err
		}
		s, refused := f.open(err)
		if refused != nil {
			return refused
		}
		f.hops++
		if err := s.SendMsg(f.request); err != nil {
			return fmt.Errorf("multirate: follow a run to its owner: %w", err)
		}
		if err := s.CloseSend(); err != nil {
			return err
		}
		f.ClientStream = s
	}
}

// elsewhere is the service at the replica that an error names, if it names one.
func (c *Client) elsewhere(err error) (multiratev1.LearningRateServiceClient, bool) {
	conn := c.replicas.follow(err)
	if conn == nil {
		return nil, false
	}
	return multiratev1.NewLearningRateServiceClient(conn), true
}

// following does something at the service, and again wherever its error says
// that it belongs.
func following[T any](c *Client, do func(multiratev1.LearningRateServiceClient) (T, error)) (T, error) {
	v, err := do(c.service)
	for range mostHops {
		service, ok := c.elsewhere(err)
		if !ok {
			break
		}
		v, err = do(service)
	}
	return v, err
}
