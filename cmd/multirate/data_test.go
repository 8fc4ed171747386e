//go:build linux

package main

import (
	"bytes"
	"encoding/csv"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	multirate "multirate/clients/go"
	journalv1 "multirate/proto/multirate/journal/v1"
)

// quadratic is half of the sum of h_i x_i^2 with h from 1 down to 1e-4.
type quadratic []float64

func newQuadratic() quadratic {
	x := make(quadratic, 31)
	for i := range x {
		x[i] = math.Pow(10, float64(i%5)/2)
	}
	return x
}

func (x quadratic) gradient(g []float64) (loss float64) {
	for i := range x {
		h := math.Pow(10, -float64(i%5))
		g[i] = h * x[i]
		loss += g[i] * x[i] / 2
	}
	return loss
}

// step asks for a rate and descends.
func (x quadratic) step(t *testing.T, run *multirate.Run) (float64, error) {
	t.Helper()
	g := make([]float64, len(x))
	advice, err := run.Rate(t.Context(), x.gradient(g), g)
	if err != nil {
		return 0, err
	}
	for i := range x {
		x[i] -= advice.LearningRate * g[i]
	}
	return advice.LearningRate, nil
}

// serveIn starts a service on a data directory and waits until it serves.
func serveIn(t *testing.T, dir string, args ...string) (process, *multirate.Client) {
	t.Helper()
	address := "unix://" + filepath.Join(scratch, "kept.sock")
	p := start(t, append([]string{"serve", "--listen", address, "--data-dir", dir}, args...)...)
	await(t, p.stderr, "serving.*unix")
	client, err := multirate.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return p, client
}

func declared() multirate.RunConfig {
	return multirate.RunConfig{ID: "r", Dimension: 31, LossLowerBound: multirate.Known(0)}
}

// TestKilledServiceGoesOn compares the rates of a run whose service is killed
// again and again with those of one that is left alone.
func TestKilledServiceGoesOn(t *testing.T) {
	dir, rates := t.TempDir(), map[bool][]float64{}
	for _, killed := range []bool{false, true} {
		var p process
		var client *multirate.Client
		x := newQuadratic()
		for i := range 120 {
			if i == 0 || killed && i%30 == 0 {
				if i > 0 {
					p.end(t, syscall.SIGKILL)
				}
				p, client = serveIn(t, filepath.Join(dir, map[bool]string{false: "a", true: "b"}[killed]))
			}
			run, err := client.NewRun(t.Context(), declared()) // the same one again, at its latest step
			if err != nil {
				t.Fatal(err)
			}
			rate, err := x.step(t, run)
			if err != nil {
				t.Fatal(err)
			}
			rates[killed] = append(rates[killed], rate)
		}
		p.end(t, syscall.SIGTERM)
	}
	for i, want := range rates[false] {
		if got := rates[true][i]; got != want {
			t.Fatalf("step %d: rate %g, without kills %g", i, got, want)
		}
	}
}

func TestDataDirectoryIsForOneProcess(t *testing.T) {
	dir := t.TempDir()
	p, _ := serveIn(t, dir)
	out, err := command(t, "serve", "--listen", "localhost:0", "--data-dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another process uses this data directory: stop it") {
		t.Errorf("a second service: %v, %s", err, out)
	}
	p.end(t, syscall.SIGKILL)
	p, _ = serveIn(t, dir)
	p.end(t, syscall.SIGTERM)
}

// inNamespace is the program in a mount namespace of its own, behind a shell
// command that mounts something there.
func inNamespace(t *testing.T, mount string, args ...string) *exec.Cmd {
	t.Helper()
	enter := []string{"--user", "--map-root-user", "--mount", "sh", "-c", mount + ` && exec "$0" "$@"`}
	if err := exec.Command("unshare", append(enter, "true")...).Run(); err != nil {
		t.Skipf("no mount namespaces here: %v", err)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), "unshare", append(append(enter, path), args...)...)
}

func TestReadOnlyDataDirectory(t *testing.T) {
	dir := t.TempDir()
	cmd := inNamespace(t, "mount -t tmpfs -o ro none "+dir, "serve", "--listen", "localhost:0", "--data-dir", dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "read-only file system") {
		t.Errorf("%v, %s", err, out)
	}
}

// TestDiskFull: on a disk that is almost full no step is taken, and none is
// lost; once there is room the run goes on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(scratch, "full.sock")
	// The service and the shell that fills its disk share the namespace.
	script := "mount -t tmpfs -o size=80m none " + dir + " && mkfifo " + dir + "/orders && " +
		"{ while read -r order < " + dir + "/orders; do eval \"$order\"; done & }"
	cmd := inNamespace(t, script, "serve", "--listen", "unix://"+socket, "--data-dir", filepath.Join(dir, "data"))
	var log bytes.Buffer
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	client, err := multirate.Dial(t.Context(), "unix://"+socket)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	defer func() { _ = client.Close() }()
	order := func(text string) {
		t.Helper()
		pid := cmd.Process.Pid
		path := filepath.Join("/proc", strconv.Itoa(pid), "root", dir, "orders")
		if err := os.WriteFile(path, []byte(text+"\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
	run, err := client.NewRun(t.Context(), declared())
	if err != nil {
		t.Fatal(err)
	}
	x := newQuadratic()
	took, refused := 0, error(nil)
	until := func(done func() bool) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for !done() {
			if time.Now().After(deadline) {
				t.Fatalf("waited too long: %d steps, %v\n%s", took, refused, log.String())
			}
			if _, refused = x.step(t, run); refused == nil {
				took++
			}
		}
	}
	until(func() bool { return took == 10 })
	order("head -c 30000000 /dev/zero > " + dir + "/ballast")
	until(func() bool { return refused != nil })
	if status.Code(refused) != codes.ResourceExhausted || multirate.ReasonOf(refused) != "DISK_FULL" {
		t.Errorf("refused with %v", refused)
	}
	before := took
	order("rm " + dir + "/ballast")
	until(func() bool { return took == before+10 })
}

// TestNoPortIsOpened: the storage inside the service is reached by nobody.
func TestNoPortIsOpened(t *testing.T) {
	p, _ := serveIn(t, t.TempDir())
	defer p.end(t, syscall.SIGTERM)
	for _, port := range []string{"4222", "6222", "8222"} {
		if conn, err := net.Dial("tcp", "localhost:"+port); err == nil {
			_ = conn.Close()
			t.Errorf("port %s answers", port)
		}
	}
}

func TestExport(t *testing.T) {
	p, client := serveIn(t, t.TempDir())
	run, err := client.NewRun(t.Context(), declared())
	if err != nil {
		t.Fatal(err)
	}
	x, want := newQuadratic(), []string{"created"}
	for range 100 {
		rate, err := x.step(t, run)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, strconv.FormatFloat(rate, 'g', -1, 64))
	}
	address := "unix://" + filepath.Join(scratch, "kept.sock")
	table := output(t, "runs", "export", "r", "--format", "csv", "--addr", address)
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows[1:] {
		got := row[slices.Index(eventColumns, "learning_rate")]
		if i == 0 {
			got = row[slices.Index(eventColumns, "event")]
		}
		if got != want[i] || row[0] != strconv.Itoa(i+1) {
			t.Errorf("row %d is %q, want %s", i, row, want[i])
		}
	}
	if len(rows) != len(want)+1 {
		t.Errorf("%d rows, want %d", len(rows)-1, len(want))
	}
	lines := strings.Split(strings.TrimSpace(output(t, "runs", "export", "r", "--addr", address)), "\n")
	for i, line := range lines {
		var e journalv1.Event
		if err := protojson.Unmarshal([]byte(line), &e); err != nil || e.Index != int64(i+1) {
			t.Errorf("line %d: %v, %q", i, err, line)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d", len(lines), len(want))
	}
	p.end(t, syscall.SIGTERM)
}
