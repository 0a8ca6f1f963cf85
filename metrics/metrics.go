// Package metrics shows operators numbers, in the form of Prometheus. It is the only
// package that imports its library.
package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const prefix = "agentmarket_"

// fresh is how long a number of a reconciliation is shown. Each of them is made by one
// worker, now this one and now that one: what is older, another one knows better.
const fresh = 3 * time.Minute

// Metrics are the numbers of one process.
type Metrics struct {
	registry *prometheus.Registry
	now      func() time.Time

	mu     sync.Mutex
	found  map[string]found
	total  *prometheus.CounterVec
	checks *prometheus.GaugeVec
}

// found is what the last reconciliation of this process found.
type found struct {
	n  int
	at time.Time
}

// New returns the numbers of this process and of its Go runtime.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), now: time.Now, found: map[string]found{},
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "reconciled_total", Help: "What reconciliations found, since this process began.",
		}, []string{"part"}),
		checks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "doctor_check", Help: "What the doctor of this process found last: 1 holds, 0 does not, -1 unknown.",
		}, []string{"check", "tier"}),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.total, m.checks, m)
	return m
}

// Found notes what a part of the reconciliation found, by the name of its metric:
// orphan_jobs, zombie_runs, leaked_slots, leaked_holds.
func (m *Metrics) Found(part string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.found[part] = found{n, m.now()}
	m.total.WithLabelValues(part).Add(float64(n))
}

// Checked notes what the doctor found of a check: 1 it holds, 0 it does not, -1 unknown.
func (m *Metrics) Checked(check, tier string, value float64) {
	m.checks.WithLabelValues(check, tier).Set(value)
}

// Describe implements prometheus.Collector. What is collected changes with time, so it
// is not described.
func (*Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for part, f := range m.found {
		if m.now().Sub(f.at) <= fresh {
			desc := prometheus.NewDesc(prefix+part, "What the last reconciliation found. It should be 0 in the next one.", nil, nil)
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(f.n))
		}
		desc := prometheus.NewDesc(prefix+"reconciled_timestamp_seconds", "When a reconciliation last succeeded in this process.", []string{"part"}, nil)
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(f.at.UnixMilli())/1000, part)
	}
}

// Handler serves the numbers.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
