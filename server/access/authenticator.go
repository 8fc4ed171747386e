package access

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// DefaultTenant owns the runs of callers who need not say who they are.
const DefaultTenant = "default"

// Verifier checks a token that is in no file, and names its tenant.
type Verifier interface {
	Verify(ctx context.Context, token string) (tenant string, err error)
}

// Authenticator names the tenant of a call. The zero value takes everybody for
// [DefaultTenant].
type Authenticator struct {
	// Tokens, where there are any, and Verifier, where there is one, make a
	// bearer token necessary on each call over TCP. A caller on a unix socket
	// may show one.
	Tokens   *Tokens
	Verifier Verifier
}

// Tenant is whose call it is: of the bearer token's owner, else of the common
// name of the client's certificate, else [DefaultTenant].
func (a *Authenticator) Tenant(ctx context.Context) (string, error) {
	var token string
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		scheme, rest, _ := strings.Cut(values[0], " ")
		if !strings.EqualFold(scheme, "bearer") || len(values) > 1 {
			return "", errors.New("authorization must be one bearer token")
		}
		token = strings.TrimSpace(rest)
	}
	caller, _ := peer.FromContext(ctx)
	if a.Tokens == nil && a.Verifier == nil {
		return certified(caller)
	}
	if token != "" {
		return a.owner(ctx, token)
	}
	if caller != nil && caller.Addr != nil && caller.Addr.Network() == "unix" {
		return DefaultTenant, nil
	}
	return "", errors.New("a bearer token is missing")
}

func (a *Authenticator) owner(ctx context.Context, token string) (string, error) {
	if a.Tokens != nil {
		if tenant, ok := a.Tokens.Tenant(token); ok {
			return tenant, nil
		}
	}
	if a.Verifier == nil {
		return "", errors.New("the bearer token is unknown")
	}
	tenant, err := a.Verifier.Verify(ctx, token)
	if err != nil {
		return "", err
	}
	if !tenantName.MatchString(tenant) {
		return "", fmt.Errorf("the token's tenant %.80q is not 1 to 64 characters of [A-Za-z0-9._-]", tenant)
	}
	return tenant, nil
}

// certified is the tenant of a client's certificate.
func certified(caller *peer.Peer) (string, error) {
	if caller == nil {
		return DefaultTenant, nil
	}
	info, ok := caller.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return DefaultTenant, nil
	}
	name := info.State.PeerCertificates[0].Subject.CommonName
	if !tenantName.MatchString(name) {
		return "", fmt.Errorf("the certificate's common name %.80q is not 1 to 64 characters of [A-Za-z0-9._-]", name)
	}
	return name, nil
}
