// Package admin serves what operators and their tools ask for over HTTP: is the
// process alive, is it ready, metrics, and, to callers on this machine, profiles.
package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler answers
//
//	/livez         200 while the process answers at all
//	/readyz        200 while ready returns nil, else 503 and why
//	/metrics       Prometheus
//	/debug/pprof/  profiles, to loopback addresses alone: they hold memory
func Handler(metrics prometheus.Gatherer, ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // the caller is gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n")) // the caller is gone
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.Handle("/debug/pprof/", local(pprof.Index))
	mux.Handle("/debug/pprof/cmdline", local(pprof.Cmdline))
	mux.Handle("/debug/pprof/profile", local(pprof.Profile))
	mux.Handle("/debug/pprof/symbol", local(pprof.Symbol))
	mux.Handle("/debug/pprof/trace", local(pprof.Trace))
	return mux
}

// local refuses callers on other machines.
func local(handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			http.Error(w, "profiles are for callers on this machine", http.StatusForbidden)
			return
		}
		handler(w, r)
	})
}

// Serve serves the handler until ctx ends.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stopped := context.AfterFunc(ctx, func() { _ = s.Close() }) // nothing is lost with a probe
	defer stopped()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
