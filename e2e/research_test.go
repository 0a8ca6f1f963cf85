package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/secrets"
)

// scripted is a server of a model that calls the first tool that it is offered, and then
// answers. It takes two keys: the operator's, and that of a buyer.
type scripted struct {
	url  string
	mu   sync.Mutex
	keys []string // with which it was asked
}

const (
	operatorKey = "sk-of-the-operator"
	buyerKey    = "sk-of-the-buyer"
)

func startScripted(t *testing.T) *scripted {
	t.Helper()
	s := &scripted{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Authorization")
	s.mu.Lock()
	s.keys = append(s.keys, key)
	s.mu.Unlock()
	var asked struct {
		Messages []struct{ Role string }
		Tools    []struct{ Function struct{ Name string } }
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || key != "Bearer "+operatorKey && key != "Bearer "+buyerKey {
		http.Error(w, "{}", http.StatusUnauthorized)
		return
	}
	message, why := `{"role":"assistant","content":"Mount Ararat is 5,137 m high (https://peaks.example/ararat)."}`, "stop"
	if last := asked.Messages[len(asked.Messages)-1]; last.Role != "tool" && len(asked.Tools) > 0 {
		message, why = fmt.Sprintf(`{"role":"assistant","content":null,"tool_calls":[{"id":"call_a","type":"function","function":{"name":%q,"arguments":"{\"q\":\"ararat\"}"}}]}`,
			asked.Tools[0].Function.Name), "tool_calls"
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"id":"1","object":"chat.completion","created":1,"model":"small-1","choices":[{"index":0,"message":%s,"finish_reason":%q}],
		"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}}`, message, why)
}

// asked returns the keys with which it was asked since the last time.
func (s *scripted) asked() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, s.keys = s.keys, nil
	return keys
}

// TestResearchAgent: the example that does what agents do: it asks a model, which calls a
// tool, leaves a report, and names its sources. A buyer with a key of its own pays the
// model's server and not the platform.
func TestResearchAgent(t *testing.T) {
	beside(t)
	model, dir := startScripted(t), t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	keys := secrets.Config{File: filepath.Join(dir, "keyset.json")}
	require.NoError(t, secrets.Create(t.Context(), keys))
	write("WEB_KEY", "key-of-the-web")
	models := write("models.yaml", fmt.Sprintf(`
upstreams: [{name: main, base_url: "%s/v1", key_file: %s, organization_secret: MODELS_KEY}]
models: [{name: small, upstream: main, upstream_name: small-1, input_price_micros: 1000000000, output_price_micros: 2000000000, max_output_tokens: 100}]
`, model.url, write("key", operatorKey)))
	m := marketOn(t, Start(t, "AGENTMARKET_MODELS_FILE="+models, "AGENTMARKET_MODEL_BUDGET_MICROS=4000000",
		"AGENTMARKET_TOOL_SECRETS="+dir, "AGENTMARKET_SECRETS_KEYSET_FILE="+keys.File))
	m.operator.must(t, http.MethodPut, "/v1/platform/tool-servers/web", map[string]any{
		"url":        toolServer(t, "key-of-the-web", func(string) string { return "Ararat, 5,137 m: https://peaks.example/ararat" }, "search"),
		"credential": map[string]any{"header": "X-Key", "secret": "WEB_KEY"},
	}, nil)
	m.registerExample(t, "research")
	m.sell(t, "research", map[string]any{"model": "per_run", "per_run_micros": 50_000})
	m.order(t, "research", "usage")

	research := func() runView {
		run := m.buyer.untilEnded(t, m.buyer.startRun(t, "research", map[string]any{"question": "How high is Mount Ararat?"}).ID, time.Minute)
		require.Equal(t, "succeeded", run.Status, "%+v", run)
		require.JSONEq(t, `{"answer":"Mount Ararat is 5,137 m high (https://peaks.example/ararat).","sources":["https://peaks.example/ararat"],"rounds":2}`, string(run.Output))
		return run
	}
	run := research()
	require.Equal(t, []string{"Bearer " + operatorKey, "Bearer " + operatorKey}, model.asked())
	require.EqualValues(t, 50_000+2*(100*1000+10*2000), run.cost())
	status, report := m.buyer.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/artifacts/report.md", nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, string(report), "https://peaks.example/ararat")
	_, events := m.buyer.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/events?limit=200", nil, nil)
	require.Contains(t, string(events), `"tool":"search"`)

	m.buyer.must(t, http.MethodPut, "/v1/organizations/globex/secrets/MODELS_KEY", map[string]any{"value": buyerKey}, nil)
	run = research()
	require.Equal(t, []string{"Bearer " + buyerKey, "Bearer " + buyerKey}, model.asked())
	require.EqualValues(t, 50_000, run.cost())
	m.requireBooks(t)
}
