package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

func TestCallGateway(t *testing.T) {
	status := http.StatusNoContent
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+string(body))
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	launch := agentruntime.Launch{Gateway: server.URL, TokenFile: filepath.Join(t.TempDir(), "token")}
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // of the image
	call := callGateway(launch)
	require.ErrorContains(t, call(t.Context(), "PUT", "/v1/result", []byte("1")), "read the token")

	for _, token := range []string{"first", "second"} { // it is replaced
		require.NoError(t, os.WriteFile(launch.TokenFile, []byte(token+"\n"), 0o600))
		require.NoError(t, call(t.Context(), "PUT", "/v1/result", []byte("1")))
	}
	require.Equal(t, []string{"PUT /v1/result Bearer first 1", "PUT /v1/result Bearer second 1"}, got)

	status = http.StatusConflict
	require.ErrorContains(t, call(t.Context(), "POST", "/v1/end", nil), "409")
	server.Close()
	require.Error(t, call(t.Context(), "POST", "/v1/end", nil))
	require.Nil(t, callGateway(agentruntime.Launch{}))
}
