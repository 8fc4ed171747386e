package access

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// leastToken is the length of the shortest token taken, in characters: 16 bytes
// in base64.
const leastToken = 22

var tenantName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Tokens are the bearer tokens of a file with one tenant and one of its tokens a
// line, divided by blanks; '#' begins a comment. Any number of tokens may be one
// tenant's, so that they can be changed one after the other.
type Tokens struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	stamp   time.Time
	size    int64
	tenants map[[sha256.Size]byte]string
}

// LoadTokens reads a file. It is read again as it changes; a file that can't be
// read then leaves the tokens as they were, and is logged.
func LoadTokens(path string, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{path: path, log: log}
	if err := t.read(); err != nil {
		return nil, fmt.Errorf("tokens in %s: %w", path, err)
	}
	return t, nil
}

// Tenant is whose token it is. Tokens are looked up by their digest, so that the
// time it takes tells nothing of them.
func (t *Tokens) Tenant(token string) (tenant string, ok bool) {
	digest := sha256.Sum256([]byte(token))
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) > reloadEvery {
		if err := t.read(); err != nil {
			t.log.Error("tokens are as they were: the file can't be read", "path", t.path, "error", err)
		}
	}
	tenant, ok = t.tenants[digest]
	return tenant, ok
}

// read reads the file if it has changed.
func (t *Tokens) read() error {
	t.looked = time.Now()
	info, err := os.Stat(t.path)
	if err != nil {
		return err
	}
	if info.ModTime().Equal(t.stamp) && info.Size() == t.size {
		return nil
	}
	b, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	tenants, err := parseTokens(b)
	if err != nil {
		return err
	}
	t.tenants, t.stamp, t.size = tenants, info.ModTime(), info.Size()
	return nil
}

func parseTokens(b []byte) (map[[sha256.Size]byte]string, error) {
	tenants := map[[sha256.Size]byte]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
			continue
		case len(fields) != 2:
			return nil, fmt.Errorf("line %d: must be a tenant and a token", n)
		case !tenantName.MatchString(fields[0]):
			return nil, fmt.Errorf("line %d: tenant must be 1 to 64 characters of [A-Za-z0-9._-]", n)
		case len(fields[1]) < leastToken:
			return nil, fmt.Errorf("line %d: token has %d characters, must have %d: draw it with `openssl rand -base64 24`", n, len(fields[1]), leastToken)
		}
		digest := sha256.Sum256([]byte(fields[1]))
		if _, taken := tenants[digest]; taken {
			return nil, fmt.Errorf("line %d: the token is there twice", n)
		}
		tenants[digest] = fields[0]
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(tenants) == 0 {
		return nil, errors.New("there is none")
	}
	return tenants, nil
}
