package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

func TestFetchSecrets(t *testing.T) {
	status, body, calls := http.StatusOK, "", 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.URL.Path != agentruntime.PathSecretFiles || r.Header.Get("Authorization") != "Bearer token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if calls == 1 { // it is away for a moment
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	launch := agentruntime.Launch{Gateway: server.URL, TokenFile: filepath.Join(t.TempDir(), "token")}
	require.NoError(t, os.WriteFile(launch.TokenFile, []byte("token\n"), 0o600))

	dir := t.TempDir()
	body = `{"files":[{"name":"KEY","value":"dGhlLXNlY3JldC12YWx1ZQ=="}]}`
	redactor, err := fetchSecrets(t.Context(), launch, dir)
	require.NoError(t, err)
	require.Equal(t, "a [redacted]", redactor.Text("a the-secret-value"))
	value, err := os.ReadFile(filepath.Join(dir, "KEY"))
	require.NoError(t, err)
	require.Equal(t, "the-secret-value", string(value))
	info, err := os.Stat(filepath.Join(dir, "KEY"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o400), info.Mode())

	body = `{"files":[{"name":"../KEY","value":"eA=="}]}`
	_, err = fetchSecrets(t.Context(), launch, t.TempDir())
	require.ErrorContains(t, err, "another kind")

	status, body, calls = http.StatusNotFound, `{"detail":"there is no secret KEY"}`, 1
	_, err = fetchSecrets(t.Context(), launch, t.TempDir())
	require.ErrorContains(t, err, "404")
	require.Equal(t, 2, calls, "a refusal is final")
}
