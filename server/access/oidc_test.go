package access

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/metadata"
)

// issuer is an OIDC issuer on a socket of this machine.
type issuer struct {
	*httptest.Server
	key *rsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL, "token_endpoint": i.URL,
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func signJWT(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signature.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A token is good if this issuer signed it, for this service and this time; the
// claim named is the tenant.
func TestSignedTokens(t *testing.T) {
	i := newIssuer(t)
	now := time.Now()
	verifier, err := OIDC{Issuer: i.URL, Audience: "multirate", TenantClaim: "team"}.Verifier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good := func() map[string]any {
		return map[string]any{"iss": i.URL, "aud": []string{"multirate"}, "sub": "u", "team": "vision", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
	}
	with := func(name string, value any) string {
		claims := good()
		claims[name] = value
		return signJWT(t, jose.RS256, i.key, claims)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte(strings.Repeat("x", 32))
	for name, tt := range map[string]struct{ token, tenant string }{
		"good":                            {with("sub", "u"), "vision"},
		"expired":                         {with("exp", now.Add(-time.Minute).Unix()), ""},
		"of another issuer":               {with("iss", "https://elsewhere"), ""},
		"for another service":             {with("aud", "other"), ""},
		"not valid yet":                   {with("nbf", now.Add(time.Hour).Unix()), ""},
		"without a tenant":                {with("team", 7), ""},
		"with a tenant that is no name":   {with("team", "a/b"), ""},
		"signed by another key":           {signJWT(t, jose.RS256, other, good()), ""},
		"signed by a secret":              {signJWT(t, jose.HS256, secret, good()), ""},
		"not a token":                     {"x.y.z", ""},
		"changed after it was signed":     {with("sub", "u")[:20] + "A" + with("sub", "u")[21:], ""},
		"without a signature (alg: none)": {"eyJhbGciOiJub25lIn0." + strings.Split(with("sub", "u"), ".")[1] + ".", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+tt.token))
			tenant, err := (&Authenticator{Verifier: verifier}).Tenant(ctx)
			if tenant != tt.tenant || (err == nil) != (tt.tenant != "") {
				t.Errorf("tenant %q, %v; want %q", tenant, err, tt.tenant)
			}
		})
	}
}

func TestIssuersThatAreNotThere(t *testing.T) {
	for _, o := range []OIDC{{}, {Issuer: "http://127.0.0.1:1", Audience: "a"}, {Issuer: newIssuer(t).URL}, {Issuer: newIssuer(t).URL + "/x", Audience: "a"}} {
		if _, err := o.Verifier(t.Context()); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
