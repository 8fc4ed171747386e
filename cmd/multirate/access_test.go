//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// selfSigned writes a certificate for localhost and its key.
func selfSigned(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServiceBeyondThisMachine: a service on all addresses, with a certificate
// and tokens, answers those who show one, and tells its probes how it is.
func TestServiceBeyondThisMachine(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	selfSigned(t, file("cert"), file("key"))
	for name, text := range map[string]string{
		"tokens": "a aaaaaaaaaaaaaaaaaaaaaaaa\n", "token": "aaaaaaaaaaaaaaaaaaaaaaaa\n", "wrong": "bbbbbbbbbbbbbbbbbbbbbbbb\n",
	} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, "serve", "--listen", "0.0.0.0:0", "--tls-cert", file("cert"), "--tls-key", file("key"),
		"--tokens", file("tokens"), "--data-dir", file("data"), "--admin", "localhost:0")
	admin := await(t, p.stderr, `probes and metrics" address=(\S+)`)[1]
	port := await(t, p.stderr, `msg=serving network=tcp address=\S*:(\d+)`)[1]
	address := "localhost:" + port

	output(t, "runs", "list", "--addr", address, "--tls-ca", file("cert"), "--token-file", file("token"))
	for _, args := range [][]string{{"--token-file", file("wrong")}, nil} {
		out, err := command(t, append([]string{"runs", "list", "--addr", address, "--tls-ca", file("cert")}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "Unauthenticated") {
			t.Errorf("with %q: %v, %s", args, err, out)
		}
	}
	for path, want := range map[string]string{
		"/livez": "ok", "/readyz": "ok", "/debug/pprof/cmdline": "serve",
		"/metrics": `grpc_server_handled_total{grpc_code="Unauthenticated",grpc_method="ListRuns"`,
	} {
		resp, err := http.Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d, %v, lacks %q", path, resp.StatusCode, err, want)
		}
	}
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
