package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// modelServer is a server with one model, and the file that tells the gateway of it. Each
// of its answers has 100 tokens of input and 10 of output.
func modelServer(t *testing.T, answered *atomic.Int64) (modelsFile string) {
	t.Helper()
	const key = "sk-e2e-0123456789"
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+key || r.URL.Path != "/v1/chat/completions" {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		answered.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"id":"1","object":"chat.completion","created":1,"model":"small-1","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],
			"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}}`)
	}))
	t.Cleanup(upstream.Close)
	keyFile := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(keyFile, []byte(key), 0o600))
	modelsFile = filepath.Join(t.TempDir(), "models.yaml")
	require.NoError(t, os.WriteFile(modelsFile, fmt.Appendf(nil, `
upstreams: [{name: main, base_url: "%s/v1", key_file: %s}]
models: [{name: small, upstream: main, upstream_name: small-1, input_price_micros: 1000000000, output_price_micros: 2000000000, max_output_tokens: 100}]
`, upstream.URL, keyFile), 0o600))
	return modelsFile
}

// asksOnce asks the model, and prints the status and the answer.
const asksOnce = `call POST /v1/chat/completions '{"model":"small","max_tokens":20,"messages":[{"role":"user","content":"x"}]}' 'Content-Type: application/json'`

// TestModels: an agent asks a model through the gateway; what that costs is on the bill,
// and the budget ends the run.
func TestModels(t *testing.T) {
	beside(t)
	var answered atomic.Int64
	m := marketOn(t, Start(t, "AGENTMARKET_MODELS_FILE="+modelServer(t, &answered), "AGENTMARKET_MODEL_BUDGET_MICROS=2000000"))
	asking := map[string]any{"models": []string{"small"}}

	t.Run("an answer is paid", func(t *testing.T) {
		m.offer(t, "asks", sh+asksOnce+` | sed 1d | tr -d '\n' | sed 's/.*"content":"\([a-z]*\)".*/"\1"/'`, asking, map[string]any{"model": "per_run", "per_run_micros": 50_000})
		m.order(t, "asks", "usage")
		run := m.buyer.untilEnded(t, m.buyer.startRun(t, "asks", map[string]any{}).ID, time.Minute)
		require.Equal(t, "succeeded", run.Status, "%+v", run)
		require.JSONEq(t, `"hello"`, string(run.Output))
		require.EqualValues(t, 50_000+100*1000+10*2000, run.cost())
		m.requireBooks(t)
	})

	t.Run("a budget ends the run, and what it has left stays", func(t *testing.T) {
		m.offer(t, "asks-on", sh+`
			call PUT /v1/result '{"pages":1}' >&2
			call PUT /v1/artifacts/page.txt 'one page' >&2
			call POST /v1/charges '{"event":"page","count":1}' 'Idempotency-Key: 1' >&2
			while :; do `+asksOnce+` >&2; done`, asking, map[string]any{
			"model": "per_event", "max_per_run_micros": 1_000_000,
			"events": []map[string]any{{"name": "page", "title": "A page", "amount_micros": 10_000}},
		})
		m.order(t, "asks-on", "usage")
		before := answered.Load()
		run := m.buyer.untilEnded(t, m.buyer.startRun(t, "asks-on", map[string]any{}).ID, time.Minute)
		require.Equal(t, "budget_exhausted", run.Status, "%+v", run)
		require.Equal(t, "budget_exhausted", run.Reason)
		require.Contains(t, run.Attempts[0].Message, "budget of 1.000000 USD")
		require.JSONEq(t, `{"pages":1}`, string(run.Output))
		calls := answered.Load() - before
		require.Positive(t, calls)
		require.Equal(t, 10_000+calls*120_000, run.cost(), "each call, and the page")
		status, body := m.buyer.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/artifacts/page.txt", nil, nil)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "one page", string(body))
		status, body = m.buyer.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/receipt", nil, nil)
		require.Equal(t, http.StatusOK, status, "%s", body)
		require.Contains(t, strings.ReplaceAll(string(body), " ", ""), `"kind":"model"`)
		require.Eventually(t, func() bool { return len(m.pods(t, run.ID)) == 0 }, 30*time.Second, 100*time.Millisecond, "its pod goes")
		_, held := m.balances(t)
		require.Zero(t, held)
		m.requireBooks(t)
	})
}
