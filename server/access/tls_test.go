package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	der, key := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	a.key = key
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func sign(t *testing.T, template *x509.Certificate, by *authority) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// issue writes a certificate for localhost and its key.
func (a *authority) issue(t *testing.T, name string, serial int64, certFile, keyFile string) {
	t.Helper()
	der, key := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, keyFile, "PRIVATE KEY", private)
	writePEM(t, certFile, "CERTIFICATE", der)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// serve answers health checks, with the tenant in a header.
func serve(t *testing.T, l net.Listener, c Certificates, who *Authenticator) {
	t.Helper()
	creds, provider, err := c.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.Creds(creds), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			tenant, err := who.Tenant(ctx)
			if err != nil {
				return nil, status.Error(codes.Unauthenticated, err.Error())
			}
			if err := grpc.SetHeader(ctx, metadata.Pairs("tenant", tenant)); err != nil {
				return nil, err
			}
			return handler(ctx, req)
		}))
	healthpb.RegisterHealthServer(g, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		provider.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// call is whom the server takes the caller for.
func call(t *testing.T, target string, creds credentials.TransportCredentials, token string) (tenant string, err error) {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := t.Context()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	var header metadata.MD
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Header(&header))
	if err != nil {
		return "", err
	}
	return header.Get("tenant")[0], nil
}

func TestCertificatesOfClientsNameTenants(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ours, theirs := newAuthority(t), newAuthority(t)
	ours.issue(t, "server", 2, file("cert"), file("key"))
	ours.issue(t, "tenant-a", 3, file("a.cert"), file("a.key"))
	ours.issue(t, "../b", 4, file("b.cert"), file("b.key"))
	theirs.issue(t, "tenant-a", 5, file("c.cert"), file("c.key"))
	writePEM(t, file("ca"), "CERTIFICATE", ours.cert.Raw)
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, Certificates{Cert: file("cert"), Key: file("key"), ClientCA: file("ca")}, &Authenticator{})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	client := func(name string) credentials.TransportCredentials {
		config := &tls.Config{RootCAs: ours.pool()}
		if name != "" {
			pair, err := tls.LoadX509KeyPair(file(name+".cert"), file(name+".key"))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		return credentials.NewTLS(config)
	}
	for name, want := range map[string]codes.Code{"a": codes.OK, "b": codes.Unauthenticated, "c": codes.Unavailable, "": codes.Unavailable} {
		tenant, err := call(t, "localhost:"+port, client(name), "")
		if status.Code(err) != want || want == codes.OK && tenant != "tenant-a" {
			t.Errorf("client %q: tenant %q, %v, want %v", name, tenant, err, want)
		}
	}
	if _, err := call(t, "localhost:"+port, insecure.NewCredentials(), ""); status.Code(err) != codes.Unavailable {
		t.Errorf("in plain text: %v", err)
	}
}

func TestCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	a := newAuthority(t)
	a.issue(t, "server", 2, cert, key)
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, Certificates{Cert: cert, Key: key, reload: 10 * time.Millisecond}, &Authenticator{})
	serial := func() int64 {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		conn, err := tls.Dial("tcp", "localhost:"+port, &tls.Config{RootCAs: a.pool(), NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 2 {
		t.Fatalf("serial %d, want 2", got)
	}
	a.issue(t, "server", 7, cert, key)
	for deadline := time.Now().Add(10 * time.Second); serial() != 7; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate was not taken")
		}
	}
}

const tokenA, tokenB = "aaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbb"

func TestTokensNameTenants(t *testing.T) {
	dir, err := os.MkdirTemp("", "access") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := func(name string) string { return filepath.Join(dir, name) }
	a := newAuthority(t)
	a.issue(t, "server", 2, file("cert"), file("key"))
	if err := os.WriteFile(file("tokens"), []byte("# ours\nx "+tokenA+" # a\n\ny.z "+tokenB+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := LoadTokens(file("tokens"), nil)
	if err != nil {
		t.Fatal(err)
	}
	who, certs := &Authenticator{Tokens: tokens}, Certificates{Cert: file("cert"), Key: file("key")}
	tcp, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := net.Listen("unix", file("s"))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, tcp, certs, who)
	serve(t, unix, certs, who)
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	for _, tt := range []struct{ over, token, tenant string }{
		{"tcp", tokenA, "x"}, {"tcp", tokenB, "y.z"}, {"tcp", "", ""}, {"tcp", "cccccccccccccccccccccccc", ""},
		{"unix", tokenA, "x"}, {"unix", "", DefaultTenant}, {"unix", "cccccccccccccccccccccccc", ""},
	} {
		target, creds := "localhost:"+port, credentials.NewTLS(&tls.Config{RootCAs: a.pool()})
		if tt.over == "unix" {
			target, creds = "unix://"+file("s"), insecure.NewCredentials()
		}
		tenant, err := call(t, target, creds, tt.token)
		if tenant != tt.tenant || (tt.tenant == "") != (status.Code(err) == codes.Unauthenticated) {
			t.Errorf("over %s with %q: %q, %v, want %q", tt.over, tt.token, tenant, err, tt.tenant)
		}
	}
}

func TestTokenFilesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"none":         "# nobody\n",
		"short":        "x secret\n",
		"no tenant":    tokenA + "\n",
		"a bad tenant": "x/y " + tokenA + "\n",
		"twice":        "x " + tokenA + "\ny " + tokenA + "\n",
	} {
		if tenants, err := parseTokens([]byte(text)); err == nil {
			t.Errorf("%s: taken as %v", name, tenants)
		}
	}
}
