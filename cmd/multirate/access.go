package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"multirate/server"
	"multirate/server/access"
)

// accessFlags say who may call.
type accessFlags struct {
	certificates access.Certificates
	tokens       string
	oidc         access.OIDC
	insecure     bool
}

func (a *accessFlags) flags(flags *pflag.FlagSet) {
	flags.StringVar(&a.certificates.Cert, "tls-cert", "", "PEM file of the server's certificate chain; read again as it changes")
	flags.StringVar(&a.certificates.Key, "tls-key", "", "PEM file of its private key")
	flags.StringVar(&a.certificates.ClientCA, "tls-client-ca", "", "PEM file of authorities; clients then need a certificate of theirs, whose common name is the tenant")
	flags.StringVar(&a.tokens, "tokens", "", "file of bearer tokens, a tenant and its token a line; read again as it changes")
	flags.StringVar(&a.oidc.Issuer, "oidc-issuer", "", "URL of an OIDC issuer whose signed tokens (JWT) are taken as bearer tokens")
	flags.StringVar(&a.oidc.Audience, "oidc-audience", "", "what must be among the audiences of such a token")
	flags.StringVar(&a.oidc.TenantClaim, "oidc-tenant-claim", "sub", "the claim of such a token that names the tenant")
	flags.BoolVar(&a.insecure, "insecure", false, "listen beyond this machine without TLS or without knowing callers")
}

// guard refuses to listen where anybody could call, or listen in.
func (a *accessFlags) guard(addresses []string) error {
	for _, address := range addresses {
		if a.insecure || isLocal(address) {
			continue
		}
		if a.certificates.Cert == "" {
			return fmt.Errorf("--listen %s is reached by other machines in plain text: give --tls-cert and --tls-key, or --insecure where something else guards it", address)
		}
		if a.tokens == "" && a.oidc.Issuer == "" && a.certificates.ClientCA == "" {
			return fmt.Errorf("--listen %s is open to anybody: give --tokens, --oidc-issuer or --tls-client-ca, or --insecure where something else guards it", address)
		}
	}
	return nil
}

// apply loads what the flags name.
func (a *accessFlags) apply(ctx context.Context, options *server.Options) (closeAll func(), err error) {
	closeAll = func() {}
	if a.tokens != "" {
		tokens, err := access.LoadTokens(a.tokens, options.Logger)
		if err != nil {
			return nil, err
		}
		options.Authenticator = &access.Authenticator{Tokens: tokens}
	}
	if a.oidc.Issuer != "" || a.oidc.Audience != "" {
		verifier, err := a.oidc.Verifier(ctx)
		if err != nil {
			return nil, fmt.Errorf("--oidc-issuer, --oidc-audience: %w", err)
		}
		if options.Authenticator == nil {
			options.Authenticator = &access.Authenticator{}
		}
		options.Authenticator.Verifier = verifier
	}
	if a.certificates == (access.Certificates{}) {
		return closeAll, nil
	}
	if a.certificates.Cert == "" || a.certificates.Key == "" {
		return nil, errors.New("TLS needs both --tls-cert and --tls-key")
	}
	credentials, provider, err := a.certificates.Credentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	options.Credentials = credentials
	if options.Authenticator == nil {
		options.Authenticator = &access.Authenticator{} // the tenant is the certificate's
	}
	return provider.Close, nil
}
