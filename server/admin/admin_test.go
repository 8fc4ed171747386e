package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestHandler(t *testing.T) {
	metrics := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "multirate_runs"})
	gauge.Set(3)
	metrics.MustRegister(gauge)
	var unready error
	handler := Handler(metrics, func() error { return unready })
	for _, tt := range []struct {
		path, from string
		unready    error
		code       int
		body       string
	}{
		{"/livez", "192.0.2.1:5", errors.New("disk full"), http.StatusOK, "ok"},
		{"/readyz", "192.0.2.1:5", nil, http.StatusOK, "ok"},
		{"/readyz", "192.0.2.1:5", errors.New("disk full"), http.StatusServiceUnavailable, "disk full"},
		{"/metrics", "192.0.2.1:5", nil, http.StatusOK, "multirate_runs 3"},
		{"/debug/pprof/cmdline", "192.0.2.1:5", nil, http.StatusForbidden, "this machine"},
		{"/debug/pprof/cmdline", "127.0.0.1:5", nil, http.StatusOK, "admin"},
		{"/debug/pprof/cmdline", "[::1]:5", nil, http.StatusOK, "admin"},
		{"/", "127.0.0.1:5", nil, http.StatusNotFound, ""},
	} {
		unready = tt.unready
		r, w := httptest.NewRequest(http.MethodGet, tt.path, nil), httptest.NewRecorder()
		r.RemoteAddr = tt.from
		handler.ServeHTTP(w, r)
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%s from %s: %d %q, want %d %q", tt.path, tt.from, w.Code, w.Body.String(), tt.code, tt.body)
		}
	}
}
