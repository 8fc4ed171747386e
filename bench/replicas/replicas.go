// Package replicas runs a service of several replicas on a NATS cluster, each
// replica and each node a process on loopback, to be killed.
package replicas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster is the processes.
type Cluster struct {
	// Nodes are NATS nodes, Replicas those of the service.
	Nodes, Replicas []*Process
}

// Process is one of them. It keeps its place and address from life to life.
type Process struct {
	// Address is where clients reach it.
	Address string
	command []string
	log     io.Writer
	running *exec.Cmd
}

// Options say how many of them, and how they run.
type Options struct {
	// Binary is the program, Dir a folder for the nodes.
	Binary, Dir     string
	Nodes, Replicas int
	// NodeArgs and Args are more arguments of each node and each replica.
	NodeArgs, Args []string
	// Log takes what the processes write.
	Log io.Writer
}

// Start starts all of them. Replicas wait for the nodes to form a cluster.
func Start(o Options) (c *Cluster, err error) {
	c = &Cluster{}
	ports, err := freePorts(2*o.Nodes + o.Replicas)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	clients, routes, services := ports[:o.Nodes], ports[o.Nodes:2*o.Nodes], ports[2*o.Nodes:]
	var urls []string
	for i, address := range clients {
		command := []string{o.Binary, "nats", "--name", fmt.Sprintf("n%d", i), "--listen", address,
			"--store-dir", filepath.Join(o.Dir, fmt.Sprintf("n%d", i))}
		if o.Nodes > 1 {
			command = append(command, "--cluster-listen", routes[i])
			for j, route := range routes {
				if j != i {
					command = append(command, "--route", "nats://"+route)
				}
			}
		}
		command = append(command, o.NodeArgs...)
		urls = append(urls, "nats://"+address)
		c.Nodes = append(c.Nodes, &Process{Address: address, command: command, log: o.Log})
	}
	for _, address := range services {
		command := append([]string{o.Binary, "serve", "--listen", address, "--nats-url", strings.Join(urls, ","),
			"--nats-replicas", fmt.Sprint(min(3, o.Nodes))}, o.Args...)
		c.Replicas = append(c.Replicas, &Process{Address: address, command: command, log: o.Log})
	}
	for _, p := range append(append([]*Process{}, c.Nodes...), c.Replicas...) {
		if err := p.Start(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Target is the address list of all replicas, the i-th first.
func (c *Cluster) Target(first int) string {
	var addresses []string
	for i := range c.Replicas {
		addresses = append(addresses, c.Replicas[(first+i)%len(c.Replicas)].Address)
	}
	return strings.Join(addresses, ",")
}

// Stop ends all processes.
func (c *Cluster) Stop() {
	for _, p := range append(append([]*Process{}, c.Replicas...), c.Nodes...) {
		_ = p.Kill() // it may not run
	}
}

// Start starts the process, for the first time or again.
func (p *Process) Start() error {
	p.running = exec.Command(p.command[0], p.command[1:]...)
	p.running.Stdout, p.running.Stderr = p.log, p.log
	p.running.SysProcAttr = dieWithParent()
	return p.running.Start()
}

// Kill ends the process at once, as kill -9 does.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Terminate asks the process to stop, and waits for it.
func (p *Process) Terminate() error { return p.end(syscall.SIGTERM) }

// Signal sends the process a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.running.Process.Signal(s) }

func (p *Process) end(s syscall.Signal) error {
	if p.running == nil || p.running.Process == nil {
		return errors.New("not running")
	}
	if err := p.running.Process.Signal(s); err != nil {
		return err
	}
	err := p.running.Wait()
	if s == syscall.SIGKILL {
		return nil // it was killed
	}
	return err
}

// Listening waits until the process takes connections.
func (p *Process) Listening(ctx context.Context) error {
	for {
		conn, err := net.Dial("tcp", p.Address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", p.Address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freePorts are loopback addresses that nobody listens on.
func freePorts(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// Inspect opens a view of the NATS cluster.
func (c *Cluster) Inspect() (*View, error) {
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, "nats://"+n.Address)
	}
	conn, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	return &View{conn: conn, js: js, cluster: c}, nil
}

// askWithin bounds a question to the cluster, which answers none without a leader.
const askWithin = time.Second

// View looks into the NATS cluster.
type View struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	cluster *Cluster
}

// Close ends the view.
func (v *View) Close() { v.conn.Close() }

// Settle waits until every stream has a leader and all its replicas are up to
// date.
func (v *View) Settle(ctx context.Context) error {
	for {
		why := v.unsettled(ctx)
		if why == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster does not settle: %w", why)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (v *View) unsettled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*askWithin)
	defer cancel()
	for _, name := range []string{"EVENTS", "KV_SNAPSHOTS", "KV_LEASES", "KV_OWNERS"} {
		s, err := v.js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		info := s.CachedInfo().Cluster
		if info == nil {
			continue // one node alone
		}
		if info.Leader == "" {
			return fmt.Errorf("%s has no leader", name)
		}
		for _, r := range info.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s is behind on %s", name, r.Name)
			}
		}
	}
	return nil
}

// Leader is the node that leads the stream of events.
func (v *View) Leader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*askWithin)
	defer cancel()
	s, err := v.js.Stream(ctx, "EVENTS")
	if err != nil {
		return 0, err
	}
	var i int
	if info := s.CachedInfo().Cluster; info != nil {
		_, err = fmt.Sscanf(info.Leader, "n%d", &i)
	}
	return i, err
}

// Owner is the replica that owns a run of the tenant "default".
func (v *View) Owner(ctx context.Context, run string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*askWithin)
	defer cancel()
	lease, err := v.last(ctx, "OWNERS", "default/"+strings.ReplaceAll(run, ".", "="))
	if err != nil {
		return 0, err
	}
	address, err := v.last(ctx, "LEASES", lease)
	if err != nil {
		return 0, err
	}
	for i, r := range v.cluster.Replicas {
		if r.Address == address {
			return i, nil
		}
	}
	return 0, fmt.Errorf("run %s is owned by %q, which is no replica", run, address)
}

func (v *View) last(ctx context.Context, bucket, key string) (string, error) {
	s, err := v.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return "", err
	}
	m, err := s.GetLastMsgForSubject(ctx, "$KV."+bucket+"."+key)
	if err != nil {
		return "", fmt.Errorf("%s of %s: %w", key, bucket, err)
	}
	return string(m.Data), nil
}
