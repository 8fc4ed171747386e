package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// discoveryPatience bounds the wait for an issuer at the start.
const discoveryPatience = 10 * time.Second

// OIDC says whose signed tokens (JWT) are taken. Keys come from the issuer's
// discovery document, and again when a token names one that is not known yet.
type OIDC struct {
	// Issuer is the issuer's URL, as in the tokens' iss. Required.
	Issuer string
	// Audience must be among a token's aud, so that a token for another service
	// is good for nothing here. Required.
	Audience string
	// TenantClaim is the claim that names the tenant. Empty: "sub".
	TenantClaim string

	now func() time.Time // nil: [time.Now]; tests set it
}

// Verifier asks the issuer for its keys. ctx bounds the life of what it returns,
// and carries the client to ask with ([oidc.ClientContext]).
func (o OIDC) Verifier(ctx context.Context) (Verifier, error) {
	if o.Issuer == "" || o.Audience == "" {
		return nil, errors.New("OIDC needs both an issuer and an audience")
	}
	found := make(chan error, 1)
	var provider *oidc.Provider
	go func() {
		var err error
		provider, err = oidc.NewProvider(ctx, o.Issuer)
		found <- err
	}()
	select {
	case err := <-found:
		if err != nil {
			return nil, fmt.Errorf("OIDC issuer %s: %w", o.Issuer, err)
		}
	case <-time.After(discoveryPatience):
		return nil, fmt.Errorf("OIDC issuer %s did not answer in %v", o.Issuer, discoveryPatience)
	}
	verifier := provider.VerifierContext(ctx, &oidc.Config{ClientID: o.Audience, Now: o.now})
	return signed{verifier, cmp.Or(o.TenantClaim, "sub")}, nil
}

// signed takes tokens that an issuer has signed.
type signed struct {
	verifier *oidc.IDTokenVerifier
	claim    string
}

// Verify checks signature, issuer, audience and times.
func (s signed) Verify(ctx context.Context, token string) (tenant string, err error) {
	t, err := s.verifier.Verify(ctx, token)
	if err != nil {
		return "", fmt.Errorf("the bearer token is not good: %w", err)
	}
	var claims map[string]any
	if err := t.Claims(&claims); err != nil {
		return "", fmt.Errorf("the bearer token's claims: %w", err)
	}
	tenant, ok := claims[s.claim].(string)
	if !ok {
		return "", fmt.Errorf("the bearer token has no claim %q that is a string: it names the tenant", s.claim)
	}
	return tenant, nil
}
