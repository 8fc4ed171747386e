package main

import (
	"context"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	multirate "multirate/clients/go"
)

// connection says where the service is.
type connection struct {
	address   string
	plaintext bool
}

func (c *connection) flags(flags *pflag.FlagSet, address, usage string) {
	flags.StringVar(&c.address, "addr", address, usage)
	flags.BoolVar(&c.plaintext, "plaintext", false, "speak plain text, not TLS, to a service that is not on this machine")
}

func (c *connection) dial(ctx context.Context) (*multirate.Client, error) {
	var options []grpc.DialOption
	if c.plaintext {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	return multirate.Dial(ctx, c.address, options...)
}
