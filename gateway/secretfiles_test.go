package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/product"
)

// reading is a run whose agent reads secrets itself.
func (f *fixture) reading(names ...string) (product.Run, string) {
	run, token := f.going(1)
	f.update(run.ID, func(r *product.Run) ([]*product.Event, error) {
		r.Plan.Secrets, r.Plan.SecretFiles = names, names
		r.Plan.MaxOutputBytes = agentruntime.MaxResultBytes
		return nil, nil
	})
	return run, token
}

func TestSecretFiles(t *testing.T) {
	f := newFixture(t)
	f.secrets = map[string]string{"TOKEN": "the-secret-value", "LONG": strings.Repeat("x", agentruntime.MaxSecretFilesBytes)}
	run, token := f.reading("TOKEN")
	var got agentruntime.GatewaySecretFiles
	require.NoError(t, json.Unmarshal([]byte(f.call(token, "GET", agentruntime.PathSecretFiles, "").text), &got))
	require.Equal(t, []agentruntime.GatewaySecretFile{{Name: "TOKEN", Value: []byte("the-secret-value")}}, got.Files)

	_, other := f.going(1)
	require.JSONEq(t, `{"files":[]}`, f.call(other, "GET", agentruntime.PathSecretFiles, "").text, "nothing that the plan does not grant")
	_, missing := f.reading("TOKEN", "GONE")
	require.Equal(t, "secret_not_found", f.call(missing, "GET", agentruntime.PathSecretFiles, "").code(t))
	_, large := f.reading("TOKEN", "LONG")
	require.Equal(t, "secret_files_too_large", f.call(large, "GET", agentruntime.PathSecretFiles, "").code(t))

	f.cancel(run.ID)
	require.Equal(t, "session_closed", f.call(token, "GET", agentruntime.PathSecretFiles, "").code(t))
}

// What an agent reads does not come back, whichever call it takes.
func TestSecretsAreRedacted(t *testing.T) {
	const secret = "the-secret/value"
	f := newFixture(t)
	f.secrets = map[string]string{"TOKEN": secret + "\n"}
	run, token := f.reading("TOKEN")
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	body := `{"events":[{"type":"note","message":"is ` + secret + `","data":{"t":"` + secret + `"}},{"type":"progress","percent":1,"message":"` + encoded + `"}]}`
	require.Equal(t, http.StatusAccepted, f.call(token, "POST", "/v1/events", body).status)
	events, err := f.db.Runs().Events(t.Context(), run.ID, 0, 100)
	require.NoError(t, err)
	text, err := json.Marshal(events)
	require.NoError(t, err)
	require.NotContains(t, string(text), secret)
	require.NotContains(t, string(text), encoded)
	require.Equal(t, 3, strings.Count(string(text), agentruntime.Redacted), "%s", text)

	stored := f.call(token, "PUT", "/v1/result", `{"t":"`+secret+`"}`)
	require.Equal(t, http.StatusOK, stored.status, stored.text)
	clean := f.call(token, "PUT", "/v1/result", `{"t":"[redacted]"}`)
	require.Equal(t, clean.text, stored.text, "the same bytes are stored")

	zero := 0
	envelope := agentruntime.Envelope{V: 1, Run: run.ID, Attempt: 1, Outcome: agentruntime.OK, ExitCode: &zero, Message: "with " + secret,
		StartedAt: time.Unix(1, 0), FinishedAt: time.Unix(2, 0)}
	envelope.SetResult([]byte(`{"t":"` + secret + `"}`))
	report, err := envelope.Encode()
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, f.call(token, "POST", "/v1/end", string(report)).status)
	kept, err := f.db.Runs().Report(t.Context(), run.ID, 1)
	require.NoError(t, err)
	ended, err := agentruntime.ParseEnvelope(kept)
	require.NoError(t, err)
	require.JSONEq(t, `{"t":"[redacted]"}`, string(ended.Result))
	require.Equal(t, "with [redacted]", ended.Message)
}

// An agent goes on with the value that it has read, also if there is another one or none
// any more. That keeps nobody from telling of his work.
func TestSecretOfBefore(t *testing.T) {
	f := newFixture(t)
	f.secrets = map[string]string{"TOKEN": "the-first-value"}
	run, token := f.reading("TOKEN")
	require.Equal(t, http.StatusOK, f.call(token, "GET", agentruntime.PathSecretFiles, "").status)
	tell := func(text string) {
		f.now = f.now.Add(2 * time.Minute)
		require.Equal(t, http.StatusAccepted, f.call(token, "POST", "/v1/events", `{"events":[{"type":"note","message":"`+text+`"}]}`).status)
	}
	f.secrets["TOKEN"] = "the-second-value"
	tell("the-first-value, the-second-value")
	delete(f.secrets, "TOKEN")
	tell("the-first-value, the-second-value")
	events, err := f.db.Runs().Events(t.Context(), run.ID, 0, 100)
	require.NoError(t, err)
	text, err := json.Marshal(events)
	require.NoError(t, err)
	require.NotContains(t, string(text), "-value")
	require.Equal(t, 4, strings.Count(string(text), agentruntime.Redacted))

	_, gone := f.reading("GONE")
	require.Equal(t, http.StatusAccepted, f.call(gone, "POST", "/v1/events", `{"events":[{"type":"note"}]}`).status)
}
