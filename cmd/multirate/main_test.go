//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	multirate "multirate/clients/go"
)

// binary builds the program once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "multirate")
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version=v0.0.0-test", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// scratch is for the binary and for sockets, whose paths must be short.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "multirate-test-"); err != nil {
		panic(err)
	}
	if err := os.Setenv("XDG_STATE_HOME", filepath.Join(scratch, "state")); err != nil { // where services keep their runs
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// command is the program with arguments.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

// output runs the program and returns what it printed on standard output.
func output(t *testing.T, args ...string) string {
	t.Helper()
	cmd := command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("multirate %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// process is the program running.
type process struct {
	*exec.Cmd
	stdout, stderr *bufio.Scanner
}

func start(t *testing.T, args ...string) process {
	t.Helper()
	p := process{Cmd: command(t, args...)}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.stderr = bufio.NewScanner(stdout), bufio.NewScanner(stderr)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

// await returns the submatches of the first line that matches.
func await(t *testing.T, lines *bufio.Scanner, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for lines.Scan() {
		if m := re.FindStringSubmatch(lines.Text()); m != nil {
			return m
		}
	}
	t.Fatalf("no line matches %q", pattern)
	return nil
}

// end signals the process and returns its exit code.
func (p process) end(t *testing.T, signal os.Signal) int {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	for p.stderr.Scan() {
		t.Log(p.stderr.Text())
	}
	err := p.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// checkSilent waits until nobody answers on a socket and no file is left of it.
func checkSilent(t *testing.T, target string) {
	t.Helper()
	path := strings.TrimPrefix(target, "unix://")
	deadline := time.Now().Add(5 * time.Second)
	for {
		conn, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatalf("%s still answers", target)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s still there: %v", path, err)
	}
}

const startedLine = `service started, process \d+ at (unix://\S+)`

func TestTrainOverItsOwnService(t *testing.T) {
	dir := t.TempDir()
	cmd := command(t, "train", "--problem", "wine", "--excess", "1e-2", "--compare=false", "--out", dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	target := regexp.MustCompile(startedLine).FindStringSubmatch(stderr.String())
	if target == nil {
		t.Fatalf("no service was started:\n%s", stderr.String())
	}
	checkSilent(t, target[1])
	if _, err := os.Stat(filepath.Dir(strings.TrimPrefix(target[1], "unix://"))); !os.IsNotExist(err) {
		t.Errorf("the socket's folder is still there: %v", err)
	}
	for _, want := range []string{
		"wine, raw features: 14 parameters, to an excess loss of 1e-2",
		"multirate, sketches alone", "multirate, with the diagonal", "counted as 10", runtime.Version(),
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, stdout.String())
		}
	}
	if strings.Contains(stdout.String(), "> 20,000") {
		t.Errorf("target not reached:\n%s", stdout.String())
	}
	picture, err := os.ReadFile(filepath.Join(dir, "wine.png"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
		t.Error(err)
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "wine.svg")); err != nil || !bytes.Contains(svg, []byte("</svg>")) {
		t.Errorf("SVG of %d bytes, %v", len(svg), err)
	}
}

func TestServiceEndsWithItsTrainer(t *testing.T) {
	for _, test := range []struct {
		signal os.Signal
		code   int
	}{{syscall.SIGTERM, 1}, {syscall.SIGINT, 1}, {syscall.SIGKILL, -1}} {
		t.Run(test.signal.String(), func(t *testing.T) {
			if test.signal == syscall.SIGKILL && runtime.GOOS != "linux" {
				t.Skip("only Linux tells a process of its parent's death")
			}
			// Never ends by itself.
			p := start(t, "train", "--problem", "three-scales", "--excess", "1e-300", "--steps", "1000000000", "--compare=false", "--out", "")
			target := await(t, p.stderr, startedLine)[1]
			await(t, p.stderr, "three-scales +step")
			if code := p.end(t, test.signal); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			checkSilent(t, target)
		})
	}
}

// serve starts a service and returns its address.
func serve(t *testing.T, name string) (p process, address string) {
	t.Helper()
	address = "unix://" + filepath.Join(scratch, name)
	p = start(t, "serve", "--listen", address, "--listen", "localhost:0")
	await(t, p.stderr, "serving.*unix")
	return p, address
}

func TestServeStopsGracefully(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			p, address := serve(t, "stop")
			client, err := multirate.Dial(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			if code := p.end(t, signal); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			checkSilent(t, address)
		})
	}
}

func TestServeRefusesWhatItCannotDo(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--log-level", "loud"}, "debug, info, warn or error"},
		{[]string{"serve", "--log-format", "xml"}, "text or json"},
		{[]string{"serve", "--sync", "never"}, "interval or always"},
		{[]string{"serve", "--listen", "0.0.0.0:0"}, "in plain text: give --tls-cert"},
		{[]string{"serve", "--listen", ":0"}, "in plain text: give --tls-cert"},
		{[]string{"serve", "--listen", "0.0.0.0:0", "--tls-cert", "c", "--tls-key", "k"}, "open to anybody: give --tokens"},
		{[]string{"serve", "--tls-cert", "c"}, "both --tls-cert and --tls-key"},
		{[]string{"serve", "--tls-cert", "c", "--tls-key", "k"}, "no such file"},
		{[]string{"serve", "--tokens", "nowhere"}, "no such file"},
		{[]string{"serve", "--socket-mode", "rw"}, "octal"},
		{[]string{"serve", "--config", "nowhere.yaml"}, "no such file"},
		{[]string{"serve", "--listen", "localhost:0", "--in-memory", "--admin", "nowhere"}, "--admin"},
		{[]string{"serve", "--in-memory", "--data-dir", scratch}, "leave --data-dir out"},
		{[]string{"serve", "--listen", "unix://" + scratch}, "not a socket"},
		{[]string{"train", "--problem", "tea"}, "unknown problem"},
		{[]string{"train", "--policy", "unspecified"}, "unknown policy"},
		{[]string{"train", "--tier", "coefficients"}, "unknown tier"},
		{[]string{"train", "--excess", "1", "--loss", "1"}, "choose one"},
		{[]string{"train", "--problem", "mnist", "--excess", "1e-3"}, "least loss"},
	} {
		cmd := command(t, test.args...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) {
			t.Errorf("%v: %v, %q, want an error with %q", test.args, err, out, test.want)
		}
	}
}

func TestLookingIntoAService(t *testing.T) {
	server, address := serve(t, "look")
	client, err := multirate.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	run, err := client.NewRun(t.Context(), multirate.RunConfig{
		ID: "seen", Dimension: 3, LossLowerBound: multirate.Known(0), Labels: map[string]string{"who": "me"},
	})
	if err != nil {
		t.Fatal(err)
	}
	x := []float64{1, 1, 1}
	step := func() {
		g := []float64{x[0], 10 * x[1], 1000 * x[2]}
		advice, err := run.Rate(t.Context(), (x[0]*g[0]+x[1]*g[1]+x[2]*g[2])/2, g)
		if err != nil {
			t.Fatal(err)
		}
		for i := range x {
			x[i] -= advice.LearningRate * g[i]
		}
	}
	for range 8 {
		step()
	}
	at := func(args ...string) []string { return append(args, "--addr", address) }

	if list := output(t, at("runs", "list")...); !regexp.MustCompile(`(?m)^seen +3 +adaptive +7 .* who=me$`).MatchString(list) {
		t.Errorf("runs list:\n%s", list)
	}
	if list := output(t, at("runs", "list", "--label", "who=you")...); strings.Contains(list, "seen") {
		t.Errorf("runs list of another label:\n%s", list)
	}
	if got := output(t, at("runs", "get", "seen")...); !regexp.MustCompile(`"latestStep": +"7"`).MatchString(got) {
		t.Errorf("runs get:\n%s", got)
	}
	if got := output(t, at("spectrum", "seen")...); !strings.Contains(got, "RITZ VALUE") || !strings.Contains(got, "from sketch") {
		t.Errorf("spectrum:\n%s", got)
	}

	file := filepath.Join(t.TempDir(), "snapshot")
	output(t, at("runs", "snapshot", "seen", file)...)
	if got := output(t, at("runs", "restore", file, "--run-id", "again")...); got != "again, latest step 7\n" {
		t.Errorf("runs restore: %q", got)
	}

	watch := start(t, at("watch", "seen")...)
	watched := make(chan string)
	go func() {
		defer close(watched)
		for watch.stdout.Scan() {
			watched <- watch.stdout.Text()
		}
	}()
	line := ""
	for line == "" { // it sees what happens after it has begun to look
		step()
		select {
		case line = <-watched:
		case <-time.After(20 * time.Millisecond):
		}
	}
	if !regexp.MustCompile(`step +\d+ +loss \S+ +rate \S+ +scale`).MatchString(line) {
		t.Errorf("watch: %q", line)
	}
	output(t, at("runs", "delete", "seen", "again")...)
	for l := range watched {
		line = l
	}
	if !strings.Contains(line, "deleted") {
		t.Errorf("watch ended with %q, want that the run was deleted", line)
	}
	if err := watch.Wait(); err != nil {
		t.Errorf("watch: %v", err)
	}
	if out, err := command(t, at("runs", "get", "seen")...).CombinedOutput(); err == nil || !bytes.Contains(out, []byte("seen")) {
		t.Errorf("runs get of a deleted run: %v, %q", err, out)
	}
	if code := server.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d of the service, want 0", code)
	}
}

func TestVersionIsTheLinkedOne(t *testing.T) {
	if got := output(t, "version"); !strings.HasPrefix(got, "multirate v0.0.0-test, go1.") {
		t.Errorf("version %q", got)
	}
	if got := buildVersion(); got == "" {
		t.Error("no version without the linker's")
	}
}
