package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	multirate "multirate/clients/go"
)

// connection says where the service is.
type connection struct {
	address   string
	plaintext bool
	ca        string
	cert, key string
	tokenFile string
}

func (c *connection) flags(flags *pflag.FlagSet, address, usage string) {
	flags.StringVar(&c.address, "addr", address, usage)
	flags.BoolVar(&c.plaintext, "plaintext", false, "speak plain text, not TLS, to a service that is not on this machine")
	flags.StringVar(&c.ca, "tls-ca", "", "PEM file of the authorities of the service's certificate (default the system's)")
	flags.StringVar(&c.cert, "tls-cert", "", "PEM file of this client's certificate")
	flags.StringVar(&c.key, "tls-key", "", "PEM file of its private key")
	flags.StringVar(&c.tokenFile, "token-file", "", "file that holds the bearer token to show")
}

func (c *connection) dial(ctx context.Context) (*multirate.Client, error) {
	var options []grpc.DialOption
	switch {
	case c.plaintext:
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	case c.ca != "" || c.cert != "":
		config, err := c.tls()
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	}
	if c.tokenFile != "" {
		b, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer(strings.TrimSpace(string(b)))))
	}
	return multirate.Dial(ctx, c.address, options...)
}

func (c *connection) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--tls-ca %s: there is no certificate", c.ca)
		}
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// bearer shows a token at each call.
type bearer string

// GetRequestMetadata is the header that shows it.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is false: whoever dials in plain text has asked for
// it, or speaks to this machine.
func (b bearer) RequireTransportSecurity() bool { return false }
