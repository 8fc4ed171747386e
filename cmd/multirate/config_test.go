package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestPrecedence: a flag comes before the environment, that before the file, and
// that before the default.
func TestPrecedence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := "sync: always\nmax-runs: 7\ntenant-rate: 2.5\nstop-grace: 3s\nin-memory: true\nlisten: [\"unix:///a\", \"localhost:1\"]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MULTIRATE_CONFIG", path)
	t.Setenv("MULTIRATE_MAX_RUNS", "8")
	t.Setenv("MULTIRATE_STOP_GRACE", "4s")
	t.Setenv("MULTIRATE_SOMETHING_ELSE", "of another program")
	var f serveFlags
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.flags(flags)
	if err := flags.Parse([]string{"--stop-grace", "5s"}); err != nil {
		t.Fatal(err)
	}
	if err := configure(flags, ""); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"stop-grace": "5s", "max-runs": "8", "sync": "always", "tenant-rate": "2.5", "in-memory": "true", "log-level": "info",
	} {
		if got := flags.Lookup(name).Value.String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if want := []string{"unix:///a", "localhost:1"}; !slices.Equal(f.listen, want) {
		t.Errorf("listen is %q, want %q", f.listen, want)
	}
}

func TestSeveralAddressesInTheEnvironment(t *testing.T) {
	t.Setenv("MULTIRATE_LISTEN", "unix:///a,localhost:1")
	var f serveFlags
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.flags(flags)
	if err := configure(flags, ""); err != nil || !slices.Equal(f.listen, []string{"unix:///a", "localhost:1"}) {
		t.Errorf("listen is %q, %v", f.listen, err)
	}
}

func TestConfigurationsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"unknown":    {"max-run: 3\n", `no option "max-run"`},
		"nested":     {"tls:\n  cert: x\n", "no option"},
		"wrong type": {"max-runs: many\n", "option max-runs"},
		"not YAML":   {"max-runs: [", "--config"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var f serveFlags
			flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
			f.flags(flags)
			if err := configure(flags, path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
		})
	}
}
