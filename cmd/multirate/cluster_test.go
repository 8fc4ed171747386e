//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"multirate/bench/replicas"
	multirate "multirate/clients/go"
)

// startCluster starts NATS nodes and replicas, each a process.
func startCluster(t *testing.T, nodes, services int) (*replicas.Cluster, *replicas.View) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	c, err := replicas.Start(replicas.Options{Binary: path, Dir: t.TempDir(), Nodes: nodes, Replicas: services, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Stop()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, r := range c.Replicas {
		if err := r.Listening(ctx); err != nil {
			t.Fatal(err)
		}
	}
	view, err := c.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(view.Close)
	return c, view
}

// lockedBuffer takes what several processes write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// undisturbedRates are those of a run in one service that nothing happens to.
func undisturbedRates(t *testing.T, steps int) (rates []float64) {
	t.Helper()
	p, client := serveIn(t, t.TempDir())
	defer p.end(t, syscall.SIGTERM)
	run, err := client.NewRun(t.Context(), declared())
	if err != nil {
		t.Fatal(err)
	}
	x := newQuadratic()
	for range steps {
		rate, err := x.step(t, run)
		if err != nil {
			t.Fatal(err)
		}
		rates = append(rates, rate)
	}
	return rates
}

// TestReplicasSurviveFaults takes steps while replicas and nodes are killed,
// stopped and paused, each as often as it takes seconds. bench/cluster does so 40
// times, under load. Every rate must be that of an undisturbed run.
func TestReplicasSurviveFaults(t *testing.T) {
	const stepsEach = 25
	c, view := startCluster(t, 3, 3)
	owner := func() *replicas.Process {
		t.Helper()
		i, err := view.Owner(t.Context(), "r")
		if err != nil {
			t.Fatal(err)
		}
		return c.Replicas[i]
	}
	leader := func() *replicas.Process {
		t.Helper()
		i, err := view.Leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c.Nodes[i]
	}
	var victim *replicas.Process
	do := func(p *replicas.Process, what func() error) {
		t.Helper()
		victim = p
		if err := what(); err != nil {
			t.Fatal(err)
		}
	}
	faults := []struct {
		name          string
		strike, mend  func()
		throughStream bool
	}{
		{name: "none", strike: func() {}, mend: func() {}},
		{
			name:   "the owner is killed",
			strike: func() { p := owner(); do(p, p.Kill) },
			mend:   func() { do(victim, victim.Start) },
		},
		{
			name:   "the owner stops",
			strike: func() { p := owner(); do(p, p.Terminate) },
			mend:   func() { do(victim, victim.Start) },
		},
		{
			name:   "the owner is paused for longer than its lease",
			strike: func() { p := owner(); do(p, func() error { return p.Signal(syscall.SIGSTOP) }) },
			mend:   func() { do(victim, func() error { return victim.Signal(syscall.SIGCONT) }) },
		},
		{
			name:   "the leader of the events is killed",
			strike: func() { p := leader(); do(p, p.Kill) },
			mend:   func() { do(victim, victim.Start) },
		},
		{
			name: "a replica is started while a node is down",
			strike: func() {
				p := owner()
				do(p, p.Kill)
				do(p, p.Start)
				n := c.Nodes[0]
				do(n, n.Kill)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				do(n, func() error { return p.Listening(ctx) })
			},
			mend: func() { do(victim, victim.Start) },
		},
		{
			name:          "the owner of a stream is killed",
			throughStream: true,
			strike:        func() { p := owner(); do(p, p.Kill) },
			mend:          func() { do(victim, victim.Start) },
		},
	}
	want := undisturbedRates(t, 2*stepsEach*len(faults))
	x, taken := newQuadratic(), 0
	for i, fault := range faults {
		var opts []multirate.RunOption
		if fault.throughStream {
			opts = append(opts, multirate.OverStream())
		}
		client, err := multirate.Dial(t.Context(), c.Target(i)) // whoever owns the run
		if err != nil {
			t.Fatal(err)
		}
		run, err := client.NewRun(t.Context(), declared(), opts...)
		if err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
		if run.Step() != int64(taken) {
			t.Fatalf("%s: the run is at step %d of %d", fault.name, run.Step(), taken)
		}
		steps := func(n int) {
			t.Helper()
			for range n {
				rate, err := stepUntil(t, x, run)
				if err != nil {
					t.Fatalf("%s: step %d: %v", fault.name, taken, err)
				}
				if rate != want[taken] {
					t.Fatalf("%s: step %d: rate %g, undisturbed %g", fault.name, taken, rate, want[taken])
				}
				taken++
			}
		}
		steps(stepsEach)
		fault.strike()
		steps(stepsEach)
		fault.mend()
		if err := errorsOf(run.Close(t.Context()), client.Close()); err != nil {
			t.Fatal(err)
		}
		settle(t, c, view)
	}
}

// stepUntil takes a step, again where a trainer would.
func stepUntil(t *testing.T, x quadratic, run *multirate.Run) (rate float64, err error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if rate, err = x.step(t, run); err == nil {
			return rate, nil
		}
	}
	return 0, err
}

// settle waits until nodes and replicas are whole again.
func settle(t *testing.T, c *replicas.Cluster, view *replicas.View) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, p := range append(append([]*replicas.Process{}, c.Nodes...), c.Replicas...) {
		if err := p.Listening(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := view.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

func errorsOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestClientsFollowStreams: a client of one replica estimates, streams, watches
// and reports on a run that another owns.
func TestClientsFollowStreams(t *testing.T) {
	c, _ := startCluster(t, 1, 2)
	for i := range 2 {
		client, err := multirate.Dial(t.Context(), c.Replicas[i].Address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		run, err := client.NewRun(t.Context(), declared(), multirate.OverStream())
		if err != nil {
			t.Fatal(err)
		}
		x := newQuadratic()
		for range 3 {
			if _, err := x.step(t, run); err != nil {
				t.Fatal(err)
			}
		}
		spectrum, err := run.EstimateSpectrum(t.Context(), func(v, hv []float64) error {
			quadratic(v).gradient(hv)
			return nil
		}, multirate.EstimateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(spectrum.GetRitzValues()); n < 5 {
			t.Errorf("%d Ritz values, want 5", n)
		}
		if i == 1 { // the second replica owns nothing
			watched := watchFor(t, c.Replicas[1].Address, func() {
				if _, err := x.step(t, run); err != nil {
					t.Fatal(err)
				}
			})
			if !strings.Contains(watched, "step") {
				t.Errorf("watch printed %q", watched)
			}
			lines := strings.Split(strings.TrimSpace(output(t, "runs", "export", "r", "--addr", c.Replicas[1].Address)), "\n")
			if len(lines) != 1+7+2 {
				t.Errorf("%d events exported, want 10", len(lines))
			}
		}
		if err := run.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// watchFor is the first line that `watch r` prints while do is repeated.
func watchFor(t *testing.T, address string, do func()) string {
	t.Helper()
	p := start(t, "watch", "r", "--addr", address)
	defer func() { _ = p.Process.Signal(os.Interrupt) }()
	line := make(chan string, 1)
	go func() {
		if p.stdout.Scan() {
			line <- p.stdout.Text()
		}
		close(line)
	}()
	time.Sleep(time.Second)
	do()
	return <-line
}

func TestClusterOptionsAreChecked(t *testing.T) {
	free := filepath.Join(t.TempDir(), "none")
	for _, test := range []struct{ args, want string }{
		{"serve --nats-url nats://localhost:1 --data-dir " + free, "leave --data-dir and --in-memory out"},
		{"serve --nats-url nats://localhost:1 --in-memory", "leave --data-dir and --in-memory out"},
		{"serve --nats-url nats://localhost:1 --nats-replicas 2", "use 1, 3 or 5"},
		{"serve --nats-url nats://localhost:1 --lease 10ms", "1s at least"},
		{"serve --nats-url nats://localhost:1 --nats-cert x", "both --nats-cert and --nats-key"},
		{"serve --nats-url nats://localhost:1 --listen localhost:0", "name one with --advertise"},
		{"nats", "--store-dir is missing"},
		{"nats --store-dir " + free + " --cluster-listen localhost:0", "--name is missing"},
		{"nats --store-dir " + free + " --listen here", "use host:port"},
		{"nats --store-dir " + free + " --name a --cluster-listen localhost:0 --route nowhere", "use nats://host:port"},
	} {
		var stderr bytes.Buffer
		cmd := command(t, strings.Fields(test.args)...)
		cmd.Stdout, cmd.Stderr = io.Discard, &stderr
		if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%s: %v, %q, want %q", test.args, err, stderr.String(), test.want)
		}
	}
}

// TestNATSOfTheManifest: nodes under the configuration of deploy/kubernetes take
// replicas that show a certificate, and nobody else.
func TestNATSOfTheManifest(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	selfSigned(t, file("tls.crt"), file("tls.key"))
	authority, err := os.ReadFile(file("tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("../../deploy/kubernetes/replicated/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	config = bytes.ReplaceAll(config, []byte(`"/tls/`), []byte(`"`+dir+`/`))
	for name, b := range map[string][]byte{"ca.crt": authority, "nats.conf": config} {
		if err := os.WriteFile(file(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	node := start(t, "nats", "--nats-config", file("nats.conf"), "--name", "n", "--listen", "localhost:0", "--store-dir", file("store"))
	_, port, err := net.SplitHostPort(await(t, node.stderr, `serving NATS.*address=(\S+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"serve", "--listen", "unix://" + filepath.Join(scratch, "tls.sock"), "--nats-url", "tls://localhost:" + port, "--nats-replicas", "1", "--nats-ca", file("ca.crt")}
	out, err := command(t, args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "tls") {
		t.Errorf("without a certificate: %v, %s", err, out)
	}
	p := start(t, append(args, "--nats-cert", file("tls.crt"), "--nats-key", file("tls.key"))...)
	await(t, p.stderr, "serving.*unix")
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	node.end(t, syscall.SIGTERM)
}
