package metrics

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code)
	return answer.Body.String()
}

// TestFound: the last number is shown, for as long as it says something.
func TestFound(t *testing.T) {
	m, now := New(), time.Unix(1000, 0)
	m.now = func() time.Time { return now }
	require.NotContains(t, scrape(t, m), "agentmarket_orphan_jobs")
	m.Found("orphan_jobs", 3)
	require.Contains(t, scrape(t, m), "\nagentmarket_orphan_jobs 3\n")
	m.Found("orphan_jobs", 0)
	text := scrape(t, m)
	require.Contains(t, text, "\nagentmarket_orphan_jobs 0\n")
	require.Contains(t, text, `agentmarket_reconciled_total{part="orphan_jobs"} 3`)
	require.Contains(t, text, `agentmarket_reconciled_timestamp_seconds{part="orphan_jobs"} 1000`)
	require.Contains(t, text, "go_goroutines")
	now = now.Add(fresh + time.Second)
	text = scrape(t, m)
	require.NotContains(t, text, "agentmarket_orphan_jobs", "another worker knows better")
	require.Contains(t, text, `agentmarket_reconciled_timestamp_seconds{part="orphan_jobs"} 1000`, "how long ago it was stays")
}
