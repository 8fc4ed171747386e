package access

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/tls/certprovider"
	"google.golang.org/grpc/credentials/tls/certprovider/pemfile"
)

// reloadEvery is how soon a changed file counts.
const reloadEvery = 5 * time.Second

// Certificates are PEM files. They are read again as they change; connections
// that are open stay so.
type Certificates struct {
	// Cert and Key are the server's chain and private key. Required.
	Cert, Key string
	// ClientCA holds the authorities whose clients may connect; every client
	// then needs a certificate of theirs. Empty: clients show none.
	ClientCA string

	reload time.Duration // 0: reloadEvery; tests don't wait for that
}

// Credentials are TLS for TCP, and nothing for unix sockets, which their file's
// mode guards. The caller closes the provider after the server.
func (c Certificates) Credentials(ctx context.Context) (credentials.TransportCredentials, certprovider.Provider, error) {
	if c.Cert == "" || c.Key == "" {
		return nil, nil, errors.New("a certificate and its key are needed, both")
	}
	provider, err := pemfile.NewProvider(pemfile.Options{
		CertFile: c.Cert, KeyFile: c.Key, RootFile: c.ClientCA, RefreshDuration: cmp.Or(c.reload, reloadEvery),
	})
	if err != nil {
		return nil, nil, err
	}
	// Once now, so that what can't be read ends the start rather than each call.
	// The provider itself says no more than that it has nothing.
	if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
		provider.Close()
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadEvery)
	defer cancel()
	if _, err := provider.KeyMaterial(ctx); err != nil {
		provider.Close()
		return nil, nil, fmt.Errorf("client authorities in %s: %w", c.ClientCA, err)
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return c.current(hello.Context(), provider)
		},
	}
	return overTCP{credentials.NewTLS(config)}, provider, nil
}

// current is the configuration of one handshake.
func (c Certificates) current(ctx context.Context, provider certprovider.Provider) (*tls.Config, error) {
	material, err := provider.KeyMaterial(ctx)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, Certificates: material.Certs}
	if c.ClientCA != "" {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, material.Roots
	}
	return config, nil
}

// overTCP leaves unix sockets in plain text.
type overTCP struct {
	credentials.TransportCredentials
}

// ServerHandshake is that of TLS, or none.
func (o overTCP) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if conn.LocalAddr().Network() == "unix" {
		return conn, socketInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
	}
	return o.TransportCredentials.ServerHandshake(conn)
}

// Clone is a copy.
func (o overTCP) Clone() credentials.TransportCredentials {
	return overTCP{o.TransportCredentials.Clone()}
}

// socketInfo marks a connection over a unix socket.
type socketInfo struct{ credentials.CommonAuthInfo }

// AuthType names the connection's kind.
func (socketInfo) AuthType() string { return "unix" }
