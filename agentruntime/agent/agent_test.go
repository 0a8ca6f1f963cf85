package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/agentruntime/agent"
)

// newRun makes a run whose gateway is a handler; nil: it has none.
func newRun(t *testing.T, gateway http.HandlerFunc) (run *agent.Run, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, value := range map[string]string{
		agentruntime.EnvRunID: "run_1", agentruntime.EnvAttempt: "2", agentruntime.EnvDeadline: "2026-01-01T00:00:00Z",
		agentruntime.EnvInput: filepath.Join(dir, "input"), agentruntime.EnvOutput: filepath.Join(dir, "output"),
		agentruntime.EnvTokenFile: filepath.Join(dir, "token"), agentruntime.EnvGateway: "",
	} {
		t.Setenv(name, value)
	}
	setToken(t, dir, "first")
	if gateway != nil {
		server := httptest.NewServer(gateway)
		t.Cleanup(server.Close)
		t.Setenv(agentruntime.EnvGateway, server.URL)
	}
	run, err := agent.FromEnv()
	require.NoError(t, err)
	return run, dir
}

func setToken(t *testing.T, dir, token string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte(token+"\n"), 0o600))
}

func TestInputAndResultAreFiles(t *testing.T) {
	run, dir := newRun(t, nil)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "input"), []byte(`{"name":"Ada"}`), 0o600))
	var in struct{ Name string }
	require.NoError(t, run.Input(&in))
	require.Equal(t, "Ada", in.Name)
	require.Equal(t, 2, run.Attempt)
	require.NoError(t, run.Result(map[string]string{"greeting": "Hello"}))
	got, err := os.ReadFile(filepath.Join(dir, "output"))
	require.NoError(t, err)
	require.JSONEq(t, `{"greeting":"Hello"}`, string(got))
}

func TestWithoutGateway(t *testing.T) {
	run, _ := newRun(t, nil)
	require.NoError(t, run.Progress(t.Context(), 10, "begun"))
	require.NoError(t, run.Note(t.Context(), "seen", 3))
	_, err := run.Charge(t.Context(), "k", "page", 1)
	require.ErrorIs(t, err, agent.ErrNoGateway)
	require.ErrorIs(t, run.Partial(t.Context(), 1), agent.ErrNoGateway)
	require.Empty(t, run.ModelsURL())
	require.Empty(t, run.ToolsURL())
}

func TestPartial(t *testing.T) {
	var sent []string
	run, _ := newRun(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = append(sent, r.Method+" "+r.URL.Path+" "+string(body))
		_, _ = io.WriteString(w, `{"size":13,"sha256":"00"}`)
	})
	require.NoError(t, run.Partial(t.Context(), map[string]bool{"half": true}))
	require.Equal(t, []string{`PUT /v1/result {"half":true}`}, sent)
	require.Error(t, run.Partial(t.Context(), func() {}), "no JSON")
	require.Len(t, sent, 1)
}

// The token is read for each call, and goes to the gateway only.
func TestToken(t *testing.T) {
	var seen []string
	run, dir := newRun(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusNoContent)
	})
	require.NoError(t, run.Heartbeat(t.Context()))
	setToken(t, dir, "second")
	require.NoError(t, run.Heartbeat(t.Context()))
	require.Equal(t, []string{"Bearer first", "Bearer second"}, seen)

	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, other.URL, http.NoBody)
	require.NoError(t, err)
	response, err := run.Client().Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Empty(t, seen[2])
}

func TestErrors(t *testing.T) {
	tests := map[string]struct {
		status int
		code   string
	}{
		"over":   {http.StatusConflict, "session_closed"},
		"budget": {http.StatusPaymentRequired, "budget_exhausted"},
		"child":  {http.StatusPaymentRequired, "payment_required"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			calls := 0
			run, _ := newRun(t, func(w http.ResponseWriter, _ *http.Request) {
				calls++
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, `{"code":"`+test.code+`","detail":"no"}`)
			})
			_, err := run.Charge(t.Context(), "k", "page", 1)
			require.Equal(t, 1, calls)
			var answer *agent.Error
			require.ErrorAs(t, err, &answer)
			require.Equal(t, test.code, answer.Code)
			require.Equal(t, test.code == "session_closed", errors.Is(err, agent.ErrSessionClosed))
			require.Equal(t, test.code == "budget_exhausted", errors.Is(err, agent.ErrBudgetExhausted))
		})
	}
}

// Calls are made again while the gateway asks for patience, artifacts with all bytes.
func TestAgain(t *testing.T) {
	var bodies []string
	run, _ := newRun(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		if len(bodies) == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, `{"size":6,"sha256":"00"}`)
	})
	stored, err := run.Artifact(t.Context(), "report.md", strings.NewReader("report"))
	require.NoError(t, err)
	require.EqualValues(t, 6, stored.Size)
	require.Equal(t, []string{"report", "report"}, bodies)

	bodies = nil
	_, err = run.Artifact(t.Context(), "report.md", io.MultiReader(bytes.NewBufferString("once")))
	var problem *agent.Error
	require.ErrorAs(t, err, &problem)
	require.Equal(t, http.StatusTooManyRequests, problem.Status)
	require.Equal(t, []string{"once"}, bodies)

	_, err = run.Artifact(t.Context(), "../etc", strings.NewReader(""))
	require.Error(t, err)
	require.Len(t, bodies, 1)
}

func TestWaitEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run, _ := newRun(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
		cancel()
	})
	require.ErrorIs(t, run.Progress(ctx, 1, ""), context.Canceled)
}

// An agent that greets, and tells how far it is.
func ExampleMain() {
	agent.Main(func(ctx context.Context, run *agent.Run) error {
		var in struct {
			Name string `json:"name"`
		}
		if err := run.Input(&in); err != nil {
			return err
		}
		if err := run.Progress(ctx, 50, "thinking of a greeting"); err != nil {
			return err
		}
		return run.Result(map[string]string{"greeting": "Hello, " + in.Name + "!"})
	})
}

func TestSecret(t *testing.T) {
	run, _ := newRun(t, nil)
	_, err := run.Secret("KEY")
	require.ErrorContains(t, err, "secret_files")
	dir := t.TempDir()
	t.Setenv(agentruntime.EnvSecrets, dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "KEY"), []byte("value"), 0o600))
	value, err := run.Secret("KEY")
	require.NoError(t, err)
	require.Equal(t, "value", value)
	_, err = run.Secret("OTHER")
	require.ErrorIs(t, err, os.ErrNotExist)
}
