// Package telemetry sends traces of calls, and the metrics that Prometheus would
// fetch, to an OpenTelemetry collector.
package telemetry

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	noop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/stats"
)

// OTLP says where traces and metrics go.
type OTLP struct {
	// Endpoint is the collector's URL, http:// for plain text and https:// for
	// TLS, with its port. What else the exporters can be told (headers,
	// certificates, intervals) they read from the OTEL_EXPORTER_OTLP_ variables.
	Endpoint string
	// TraceShare is the share of calls that are traced, in [0, 1], where the
	// caller has not decided.
	TraceShare float64
	// Version is the service's.
	Version string
}

// Start begins to send. calls traces the calls of a gRPC server; shutdown sends
// what is left.
func (o OTLP) Start(ctx context.Context, metrics prometheus.Gatherer) (calls stats.Handler, shutdown func(context.Context) error, err error) {
	if !(o.TraceShare >= 0 && o.TraceShare <= 1) {
		return nil, nil, fmt.Errorf("trace share %v is not in [0, 1]", o.TraceShare)
	}
	own := resource.NewSchemaless(attribute.String("service.name", "multirate"), attribute.String("service.version", o.Version))
	about, err := resource.Merge(own, resource.Environment()) // OTEL_RESOURCE_ATTRIBUTES come first
	if err != nil {
		return nil, nil, err
	}
	spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(o.Endpoint))
	if err != nil {
		return nil, nil, err
	}
	numbers, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpointURL(o.Endpoint))
	if err != nil {
		return nil, nil, errors.Join(err, spans.Shutdown(ctx))
	}
	tracer := trace.NewTracerProvider(trace.WithBatcher(spans), trace.WithResource(about),
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(o.TraceShare))))
	// Calls are counted once, by Prometheus' interceptors; the bridge sends those.
	meter := metric.NewMeterProvider(metric.WithResource(about), metric.WithReader(
		metric.NewPeriodicReader(numbers, metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(metrics))))))
	calls = otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(tracer), otelgrpc.WithMeterProvider(noop.NewMeterProvider()),
		otelgrpc.WithPropagators(propagation.TraceContext{}), otelgrpc.WithFilter(filters.Not(filters.HealthCheck())))
	return calls, func(ctx context.Context) error {
		return errors.Join(tracer.Shutdown(ctx), meter.Shutdown(ctx))
	}, nil
}
