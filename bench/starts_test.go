package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/internal/simulate"
	"agentmarket/internal/testenv"
	"agentmarket/marketplace"
)

const (
	startClients = 32
	startRound   = 1000
)

// BenchmarkStarts measures how many starts a second one API process accepts: POST,
// checks, the record in PostgreSQL, the workflow in Temporal, 202. Nothing works on
// them. It is compared with starting workflows in Temporal and nothing else.
func BenchmarkStarts(b *testing.B) {
	p := simulate.NewPlatform(b, simulate.Options{})
	version := p.Agent(b, "bench")
	owner := p.Run(b, version, "key_owner").OrgID
	url := startAPI(b, p)
	var tokens []string
	for range 4 * startClients { // each key has its own rate limit
		tokens = append(tokens, newKey(b, p, owner))
	}
	post := func(i int) {
		request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+"/v1/agents/bench/agent/runs", bytes.NewReader([]byte(`{"input": {}}`)))
		require.NoError(b, err)
		request.Header.Set("Authorization", "Bearer "+tokens[i%len(tokens)])
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		require.NoError(b, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(b, err)
		require.Equal(b, http.StatusAccepted, response.StatusCode, "%s", body)
	}
	startWorkflow := func(int) {
		_, err := p.Temporal.ExecuteWorkflow(b.Context(), client.StartWorkflowOptions{TaskQueue: bareQueue}, twoNothings)
		require.NoError(b, err)
	}
	measure(startClients, 100, post)
	measure(startClients, 100, startWorkflow)
	var starts, workflows []time.Duration
	var startTime, workflowTime time.Duration
	for b.Loop() {
		if len(starts) > 0 {
			continue
		}
		took, samples := measure(startClients, startRound, post)
		startTime, starts = took, samples
		took, samples = measure(startClients, startRound, startWorkflow)
		workflowTime, workflows = took, samples
	}
	fmt.Printf("\n| what | a second | p50 | p99 | ratio |\n|---|---|---|---|---|\n")
	fmt.Printf("| workflow started in Temporal | %.0f | %s | %s | 1 |\n", float64(startRound)/workflowTime.Seconds(),
		millis(quantile(workflows, 0.5)), millis(quantile(workflows, 0.99)))
	fmt.Printf("| start accepted by the API | %.0f | %s | %s | %.2f |\n", float64(startRound)/startTime.Seconds(),
		millis(quantile(starts, 0.5)), millis(quantile(starts, 0.99)), workflowTime.Seconds()/startTime.Seconds())
	b.ReportMetric(workflowTime.Seconds()/startTime.Seconds(), "ratio-to-workflow-start")
	b.ReportMetric(0, "ns/op")
}

// measure calls do n times from so many clients, and returns how long all took and
// how long each.
func measure(clients, n int, do func(i int)) (time.Duration, []time.Duration) {
	samples := make([]time.Duration, n)
	var next atomic.Int64
	began := time.Now()
	together(make([]struct{}, clients), func(struct{}) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			started := time.Now()
			do(i)
			samples[i] = time.Since(started)
		}
	})
	return time.Since(began), samples
}

// startAPI starts an API process and returns its address.
func startAPI(b *testing.B, p *simulate.Platform) string {
	b.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(b))
	p.Start(b, testenv.Program{Name: "api", Path: filepath.Join(p.Bin, "agentmarket"), Args: []string{"api"}, Env: []string{
		"AGENTMARKET_DATABASE_URL=" + p.Worker.DatabaseURL, "AGENTMARKET_BLOB_URL=" + p.Worker.BlobURL,
		"AGENTMARKET_LISTEN=" + address, "KUBECONFIG=" + p.Kubeconfig,
		"TEMPORAL_ADDRESS=" + p.Worker.Temporal.HostPort, "TEMPORAL_NAMESPACE=" + testenv.TemporalNamespace,
	}})
	url := "http://" + address
	untilReady(b, url, http.StatusOK)
	return url
}

// untilReady waits until a process answers /readyz with a status.
func untilReady(b *testing.B, url string, status int) {
	b.Helper()
	require.Eventually(b, func() bool {
		request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+"/readyz", nil)
		require.NoError(b, err)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == status
	}, 30*time.Second, 50*time.Millisecond, "%s is ready", url)
}

func newKey(b *testing.B, p *simulate.Platform, org ids.Org) string {
	b.Helper()
	key, token := marketplace.NewAPIKey(org, "bench", marketplace.RoleOwner, marketplace.AllScopes(), time.Now())
	require.NoError(b, p.DB.Marketplace().CreateAPIKey(b.Context(), audit.System("bench"), key))
	return token.Reveal()
}
