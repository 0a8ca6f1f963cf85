package e2e

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"agentmarket/secrets"
)

// TestSecretFiles: an agent reads a secret where an admin has agreed to it, and shows it in
// every way that it has; nothing shows it.
func TestSecretFiles(t *testing.T) {
	beside(t)
	const secret = "a-secret-of-the-buyer"
	keys := secrets.Config{File: filepath.Join(t.TempDir(), "keyset.json")}
	require.NoError(t, secrets.Create(t.Context(), keys))
	m := marketOn(t, Start(t, "AGENTMARKET_SECRETS_KEYSET_FILE="+keys.File))
	price := map[string]any{"model": "per_run", "per_run_micros": 10_000}
	m.offer(t, "reader", `echo '"nothing"'`, map[string]any{"secrets": []string{"BUYER_KEY"}}, price)
	// Whoever installed the first version has agreed to the use of the secret only.
	m.buyer.must(t, http.MethodPut, "/v1/organizations/globex/secrets/BUYER_KEY", map[string]any{"value": secret}, nil)
	m.buyer.must(t, http.MethodPost, "/v1/orders", map[string]any{"agent": "examples/reader", "kind": "usage"}, nil)
	const consent = "/v1/agents/examples/reader/installation/consent"
	m.buyer.must(t, http.MethodPost, consent, map[string]any{"version": "1.0.0"}, nil)
	m.registerShell(t, "reader", sh+`
		key=$(cat "$AGENT_SECRETS/BUYER_KEY")
		env | grep -q "$key" && exit 3
		echo "log $key"; echo "error $key" >&2
		call POST /v1/events "{\"events\":[{\"type\":\"note\",\"message\":\"event $key\",\"data\":\"$key\"}]}" >&2
		sleep 3
		printf '{"key":"%s","mode":"%s"}' "$key" "$(stat -c %a $AGENT_SECRETS/BUYER_KEY)"`,
		map[string]any{"version": "2.0.0", "secrets": []string{"BUYER_KEY"}, "secret_files": []string{"BUYER_KEY"}})
	start := map[string]any{"input": map[string]any{}, "version": "2.0.0"}
	status, denied := m.buyer.Call(t, http.MethodPost, "/v1/agents/examples/reader/runs", nil, start)
	require.Equal(t, http.StatusForbidden, status, "%s", denied)
	require.Contains(t, string(denied), "consent_required")

	m.buyer.must(t, http.MethodPost, consent, map[string]any{"version": "2.0.0"}, nil)
	var run runView
	m.buyer.must(t, http.MethodPost, "/v1/agents/examples/reader/runs", start, &run)
	m.buyer.untilRunning(t, run.ID)
	objects, err := json.Marshal(m.pods(t, run.ID))
	require.NoError(t, err)
	run = m.buyer.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "succeeded", run.Status, "%+v", run)
	require.JSONEq(t, `{"key":"[redacted]","mode":"400"}`, string(run.Output))

	_, log := m.buyer.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/logs", nil, nil)
	require.Contains(t, string(log), "log [redacted]")
	require.Contains(t, string(log), "error [redacted]")
	_, events := m.buyer.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/events", nil, nil)
	require.Contains(t, string(events), "event [redacted]")
	var history strings.Builder
	for iter := m.temporal.GetWorkflowHistory(t.Context(), run.ID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); iter.HasNext(); {
		event, err := iter.Next()
		require.NoError(t, err)
		text, err := protojson.Marshal(event)
		require.NoError(t, err)
		history.Write(text)
	}
	for what, text := range map[string]string{"pod": string(objects), "log": string(log), "events": string(events), "history": history.String()} {
		require.NotEmpty(t, text, what)
		require.NotContains(t, text, secret, what)
		require.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte(secret)), what)
	}
}
