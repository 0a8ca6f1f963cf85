package api_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/secrets"
)

const secretPath = "/v1/organizations/acme/secrets/TRACKER_TOKEN"

// TestSecretsAreWrittenOnly: no answer has a value, and neither has the audit log.
func TestSecretsAreWrittenOnly(t *testing.T) {
	f := newFixture(t)
	const value = "s3cr3t-value"
	put := f.send(http.MethodPut, secretPath, `{"value":"`+value+`"}`, "")
	require.Equal(t, http.StatusOK, put.status, put.text)
	require.JSONEq(t, `{"name":"TRACKER_TOKEN","version":1,"created_at":"2026-11-22T12:00:00Z","updated_at":"2026-11-22T12:00:00Z"}`, put.text)
	stored, err := f.market.Secret(t.Context(), f.org.ID, "TRACKER_TOKEN")
	require.NoError(t, err)
	require.Equal(t, "secret "+string(f.org.ID)+" TRACKER_TOKEN: "+base64.StdEncoding.EncodeToString([]byte(value)), string(stored.Sealed))
	require.Contains(t, f.send(http.MethodPut, secretPath, `{"value":"another"}`, "").text, `"version":2`)
	for _, path := range []string{secretPath, "/v1/organizations/acme/secrets", "/v1/organizations/acme/audit-log"} {
		got := f.get(path)
		require.Equal(t, http.StatusOK, got.status, path)
		require.Contains(t, got.text, "TRACKER_TOKEN")
		require.NotContains(t, got.text, value)
		require.NotContains(t, got.text, base64.StdEncoding.EncodeToString([]byte(value)))
	}
	require.NotContains(t, f.log.String(), value)
	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, secretPath, "", "").status)
	f.requireCode(http.StatusNotFound, "secret_not_found", f.get(secretPath))
	f.requireCode(http.StatusNotFound, "secret_not_found", f.send(http.MethodDelete, secretPath, "", ""))
}

func TestSecretsThatAreNone(t *testing.T) {
	f := newFixture(t)
	for name, tt := range map[string]struct{ path, body, code string }{
		"a name in lower case": {"/v1/organizations/acme/secrets/token", `{"value":"x"}`, "secret_name_invalid"},
		"no value":             {secretPath, `{}`, "request_invalid"},
		"an empty value":       {secretPath, `{"value":""}`, "request_invalid"},
		"a large value":        {secretPath, `{"value":"` + strings.Repeat("x", 32769) + `"}`, "request_invalid"},
		"more than a value":    {secretPath, `{"value":"x","note":"y"}`, "request_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.send(http.MethodPut, tt.path, tt.body, "")
			require.Equal(t, http.StatusUnprocessableEntity, got.status, got.text)
			require.Equal(t, tt.code, got.json(t)["code"])
		})
	}
	without := newFixture(t, func(s *api.Server) { s.Vault = (*secrets.Vault)(nil) })
	without.requireCode(http.StatusConflict, secrets.CodeNotConfigured, without.send(http.MethodPut, secretPath, `{"value":"x"}`, ""))
}
