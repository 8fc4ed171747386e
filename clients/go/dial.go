package multirate

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	multiratev1 "multirate/proto/multirate/v1"
)

// dialTimeout bounds the wait for the service where the context has no
// deadline.
const dialTimeout = 10 * time.Second

// maxReceiveBytes admits the largest answers of the contract: snapshots of
// 16 MiB, and chunks of 2^20 float64 elements, with their envelopes.
const maxReceiveBytes = 17 << 20

// serviceConfig retries UNAVAILABLE on the calls that the contract makes
// idempotent. The others change the run each time, or would answer a repeated
// success with an error.
const serviceConfig = `{"methodConfig": [{
	"name": [
		{"service": "multirate.v1.LearningRateService", "method": "CreateRun"},
		{"service": "multirate.v1.LearningRateService", "method": "GetRun"},
		{"service": "multirate.v1.LearningRateService", "method": "ListRuns"},
		{"service": "multirate.v1.LearningRateService", "method": "GetLearningRate"},
		{"service": "multirate.v1.LearningRateService", "method": "GetSpectrum"},
		{"service": "multirate.v1.LearningRateService", "method": "SnapshotRun"}
	],
	"retryPolicy": {
		"maxAttempts": 5,
		"initialBackoff": "0.05s",
		"maxBackoff": "1s",
		"backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}
}]}`

// Client is a connection to a learning rate service. It is safe for concurrent
// use; the runs it makes are not.
type Client struct {
	conn     *grpc.ClientConn
	service  multiratev1.LearningRateServiceClient
	replicas *replicas
}

// Dial connects to the service at a gRPC target, such as
// "unix:///tmp/multirate.sock" or "localhost:7400", and waits until it answers,
// so that a sidecar may still be starting: until the context ends, or for 10 s
// where it has no deadline. Of a service of several replicas the target may be
// several addresses, host:port divided by commas; the next is used when one is
// lost.
//
// Unix sockets and loopback addresses are spoken to in plain text, all others
// over TLS with the system's roots; opts come after the defaults and override
// them (grpc.WithTransportCredentials say).
func Dial(ctx context.Context, target string, opts ...grpc.DialOption) (*Client, error) {
	replicas := &replicas{opts: opts}
	conn, err := connect(target, append([]grpc.DialOption{
		grpc.WithChainUnaryInterceptor(replicas.unary),
		grpc.WithChainStreamInterceptor(replicas.stream),
	}, opts...))
	if err != nil {
		return nil, fmt.Errorf("multirate: dial %s: %w", target, err)
	}
	if err := awaitService(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("multirate: no service at %s: %w", target, err)
	}
	return &Client{conn, multiratev1.NewLearningRateServiceClient(conn), replicas}, nil
}

// connect makes a connection, which opens by itself.
func connect(target string, opts []grpc.DialOption) (*grpc.ClientConn, error) {
	defaults := []grpc.DialOption{
		grpc.WithTransportCredentials(defaultCredentials(target)),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceiveBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if addresses := addressesIn(target); len(addresses) > 1 {
		list, err := listResolver(addresses)
		if err != nil {
			return nil, err
		}
		target = list.Scheme() + ":///" + target
		defaults = append(defaults, grpc.WithResolvers(list))
	}
	return grpc.NewClient(target, append(defaults, opts...)...)
}

// addressesIn are the addresses of a list; a path or a resolver's name is one.
func addressesIn(target string) []string {
	if strings.Contains(target, "/") || strings.HasPrefix(target, "unix") {
		return []string{target}
	}
	return strings.Split(target, ",")
}

// listResolver resolves to a list of addresses, in that order.
func listResolver(addresses []string) (resolver.Builder, error) {
	var state resolver.State
	for _, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("%q among several addresses: use host:port: %w", address, err)
		}
		// A certificate is the replica's own.
		at := resolver.Address{Addr: address, ServerName: host}
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{at}})
	}
	list := manual.NewBuilderWithScheme("list")
	list.InitialState(state)
	return list, nil
}

// awaitService returns once the peer has answered a health check, whatever the
// answer: a service without health checks is as reachable.
func awaitService(ctx context.Context, conn *grpc.ClientConn) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialTimeout)
		defer cancel()
	}
	_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx,
		&grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	switch status.Code(err) {
	case codes.Unimplemented, codes.NotFound:
		return nil
	}
	return err
}

// Close ends the connection and with it every stream of its runs.
func (c *Client) Close() error {
	c.replicas.close()
	return c.conn.Close()
}

// Connection returns the connection itself, for other services on it.
func (c *Client) Connection() grpc.ClientConnInterface { return c.conn }

// Service returns the contract's own client on the same connection, for the
// calls that a trainer has no need of (ListRuns, WatchRun).
func (c *Client) Service() multiratev1.LearningRateServiceClient { return c.service }

func defaultCredentials(target string) credentials.TransportCredentials {
	if isLocal(target) {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
}

func isLocal(target string) bool {
	if addresses := addressesIn(target); len(addresses) > 1 {
		return !slices.ContainsFunc(addresses, func(address string) bool { return !isLocal(address) })
	}
	if strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:") {
		return true
	}
	if _, rest, ok := strings.Cut(target, ":///"); ok {
		target = rest
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = target
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
