package telemetry_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	multirate "multirate/clients/go"
	"multirate/server"
	"multirate/server/telemetry"
)

// collector is an OpenTelemetry collector that remembers names.
type collector struct {
	collectortrace.UnimplementedTraceServiceServer
	mu    sync.Mutex
	names map[string]bool
}

func (c *collector) note(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[name] = true
}

func (c *collector) Export(_ context.Context, r *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	for _, resource := range r.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.note("span " + span.Name)
			}
		}
	}
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

type metricsCollector struct {
	collectormetrics.UnimplementedMetricsServiceServer
	*collector
}

func (c metricsCollector) Export(_ context.Context, r *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	for _, resource := range r.ResourceMetrics {
		for _, scope := range resource.ScopeMetrics {
			for _, m := range scope.Metrics {
				c.note("metric " + m.Name)
			}
		}
	}
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

// A call is traced, a health check is not, and what Prometheus would be told
// arrives as well, over a socket.
func TestCollectorHears(t *testing.T) {
	c := &collector{names: map[string]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(g, c)
	collectormetrics.RegisterMetricsServiceServer(g, metricsCollector{collector: c})
	go g.Serve(l) //nolint:errcheck // ends with the test
	defer g.Stop()

	registry := prometheus.NewRegistry()
	calls, shutdown, err := telemetry.OTLP{Endpoint: "http://" + l.Addr().String(), TraceShare: 1}.Start(t.Context(), registry)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "otlp")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	address := "unix://" + filepath.Join(dir, "s")
	listener, err := server.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(ctx, server.Options{Logger: slog.New(slog.DiscardHandler), Metrics: registry, Calls: calls}, listener)
	}()
	client, err := multirate.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.NewRun(t.Context(), multirate.RunConfig{Dimension: 10}); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, want := range []string{"span multirate.v1.LearningRateService/CreateRun", "metric multirate_runs", "metric grpc_server_handled_total"} {
		if !c.names[want] {
			t.Errorf("the collector did not hear of %s, but of %v", want, c.names)
		}
	}
	for name := range c.names {
		if strings.Contains(name, "Health/Check") && strings.HasPrefix(name, "span") {
			t.Errorf("a probe was traced: %s", name)
		}
	}
}

func TestTraceShareOutOfRange(t *testing.T) {
	if _, _, err := (telemetry.OTLP{Endpoint: "http://localhost:1", TraceShare: 2}).Start(t.Context(), prometheus.NewRegistry()); err == nil {
		t.Error("no error")
	}
}
