package server

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"multirate/server/access"
)

// runKey is a run's name within the server: what is one tenant's can't be named
// by another.
type runKey struct{ tenant, id string }

func keyOf(ctx context.Context, id string) runKey { return runKey{tenantOf(ctx), id} }

func (k runKey) String() string { return k.tenant + "/" + k.id }

func parseRunKey(s string) (runKey, bool) {
	tenant, id, ok := strings.Cut(s, "/")
	return runKey{tenant, id}, ok && validRunID(tenant) && validRunID(id)
}

type tenantKey struct{}

// tenantOf is the tenant that a call is of.
func tenantOf(ctx context.Context) string {
	name, _ := ctx.Value(tenantKey{}).(string)
	return cmp.Or(name, access.DefaultTenant)
}

// TenantLimits are what each tenant may take. 0 is no limit.
type TenantLimits struct {
	// Runs is the number of runs.
	Runs int
	// Streams is the number of streams under way.
	Streams int
	// Rate is the number of calls and stream messages a second, in the long
	// run; as many may come at once. A call above it is refused, a stream slowed
	// down.
	Rate float64
}

// tenant is what one tenant has taken.
type tenant struct {
	name    string
	limits  TenantLimits
	runs    atomic.Int64
	streams atomic.Int64
	calls   *rate.Limiter
}

// tenants are known from their first call on. Whoever is authenticated is one
// of a list that the operator keeps, so their number is bounded.
type tenants struct {
	limits TenantLimits
	mu     sync.Mutex
	byName map[string]*tenant
}

func (t *tenants) get(name string) *tenant {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.byName[name]
	if known == nil {
		if t.byName == nil {
			t.byName = map[string]*tenant{}
		}
		known = &tenant{name: name, limits: t.limits, calls: rate.NewLimiter(rate.Inf, 0)}
		if t.limits.Rate > 0 {
			known.calls = rate.NewLimiter(rate.Limit(t.limits.Rate), max(1, int(t.limits.Rate)))
		}
		t.byName[name] = known
	}
	return known
}

// total is the number of all runs.
func (t *tenants) total() (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, known := range t.byName {
		n += known.runs.Load()
	}
	return n
}

// take counts one against a limit, or nothing when that would exceed it.
func take(counter *atomic.Int64, limit int) bool {
	if counter.Add(1) > int64(limit) && limit > 0 {
		counter.Add(-1)
		return false
	}
	return true
}

// unguarded is reachable without a token: it tells nothing of any run.
func unguarded(method string) bool { return strings.HasPrefix(method, "/grpc.health.v1.Health/") }

// admit authenticates a call.
func (s *Server) admit(ctx context.Context, method string) (context.Context, *tenant, error) {
	if unguarded(method) {
		return ctx, s.tenants.get(access.DefaultTenant), nil
	}
	name := access.DefaultTenant
	if s.options.Authenticator != nil {
		var err error
		if name, err = s.options.Authenticator.Tenant(ctx); err != nil {
			return nil, nil, unauthenticated(err)
		}
	}
	return context.WithValue(ctx, tenantKey{}, name), s.tenants.get(name), nil
}

func (s *Server) admitUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, t, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if !unguarded(info.FullMethod) && !t.calls.Allow() {
		return nil, rateLimited(t)
	}
	return handler(ctx, req)
}

func (s *Server) admitStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, t, err := s.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if unguarded(info.FullMethod) {
		return handler(srv, stream)
	}
	if !take(&t.streams, t.limits.Streams) {
		return refuseQuota(ReasonTooManyStreams, "tenant:"+t.name, "streams", int64(t.limits.Streams),
			"%d streams are under way, as many as a tenant may have: end some", t.limits.Streams)
	}
	defer t.streams.Add(-1)
	return handler(srv, &admitted{ServerStream: stream, ctx: ctx, tenant: t})
}

// admitted is the stream of a tenant.
type admitted struct {
	grpc.ServerStream
	ctx    context.Context
	tenant *tenant
}

// Context names the tenant.
func (a *admitted) Context() context.Context { return a.ctx }

// RecvMsg waits while the tenant is above its rate.
func (a *admitted) RecvMsg(m any) error {
	if err := a.tenant.calls.Wait(a.ctx); err != nil {
		return interrupted(a.ctx)
	}
	return a.ServerStream.RecvMsg(m)
}
