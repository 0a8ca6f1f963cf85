package models_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/gateway/models"
	"agentmarket/ids"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	key := write("key", "sk-1\n")
	good := `
upstreams: [{name: main, base_url: "https://models.example.com/v1", key_file: ` + key + `}, {name: local, base_url: "http://127.0.0.1:1/v1"}]
models:
- {name: small, upstream: main, upstream_name: small-2026, input_price_micros: 250000, output_price_micros: 2000000, max_output_tokens: 4096, part_tokens: 1500}
- {name: own, upstream: local, upstream_name: llama, max_output_tokens: 100, legacy_bound: true}
`
	c, err := models.ReadFile(write("models.yaml", good), "EUR", nil)
	require.NoError(t, err)
	require.True(t, c.Priced())
	require.Equal(t, []models.Model{
		{Name: "small", Upstream: "main", UpstreamName: "small-2026", Currency: "EUR", InputPrice: 250_000, OutputPrice: 2_000_000, MaxOutputTokens: 4096, PartTokens: 1500},
		{Name: "own", Upstream: "local", UpstreamName: "llama", Currency: "EUR", MaxOutputTokens: 100, LegacyBound: true},
	}, c.Models)
	for want, u := range map[string]models.Upstream{"sk-1": c.Upstreams[0], "": c.Upstreams[1]} {
		got, err := u.Key(t.Context(), models.Session{})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	write("key", "sk-2")
	got, err := c.Upstreams[0].Key(t.Context(), models.Session{})
	require.NoError(t, err)
	require.Equal(t, "sk-2", got, "a key can be replaced")
	free, err := models.ReadFile(write("free.yaml", "upstreams: [{name: a, base_url: 'http://a.example/v1'}]\nmodels: [{name: m, upstream: a, upstream_name: m, max_output_tokens: 1}]"), "USD", nil)
	require.NoError(t, err)
	require.False(t, free.Priced())

	secret := write("two-lines", "sk-3\nsk-4")
	for name, text := range map[string]string{
		"no YAML":             "{",
		"an unknown field":    "model: []",
		"another upstream":    "models: [{name: m, upstream: a, upstream_name: m, max_output_tokens: 1}]",
		"a key that is none":  "upstreams: [{name: a, base_url: 'http://a.example', key_file: " + secret + "}]",
		"a key that is away":  "upstreams: [{name: a, base_url: 'http://a.example', key_file: /none}]",
		"a price below zero":  "upstreams: [{name: a, base_url: 'http://a.example'}]\nmodels: [{name: m, upstream: a, upstream_name: m, max_output_tokens: 1, input_price_micros: -1}]",
		"too large a catalog": "#" + string(make([]byte, 1<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := models.ReadFile(write("bad.yaml", text), "USD", nil)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "sk-")
		})
	}
	_, err = models.ReadFile(filepath.Join(dir, "none"), "USD", nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// An organization may bring a key of its own.
func TestOwnKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "models.yaml")
	text := "upstreams: [{name: a, base_url: 'http://a.example/v1', organization_secret: MODELS_KEY}, {name: b, base_url: 'http://b.example/v1'}]\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	held := map[ids.Org]string{"org_own": "sk-own\n", "org_bad": "sk\nown"}
	secret := func(_ context.Context, org ids.Org, name string) ([]byte, error) {
		value, known := held[org]
		switch {
		case org == "org_away":
			return nil, errors.New("the database is away")
		case !known || name != "MODELS_KEY":
			return nil, fault.New(fault.NotFound, "secret_not_found", "there is none")
		}
		return []byte(value), nil
	}
	c, err := models.ReadFile(path, "USD", secret)
	require.NoError(t, err)
	require.Nil(t, c.Upstreams[1].OwnKey)
	for org, want := range map[ids.Org]string{"org_own": "sk-own", "org_other": "", "": ""} {
		key, err := c.Upstreams[0].OwnKey(t.Context(), models.Session{Org: org})
		require.NoError(t, err, org)
		require.Equal(t, want, key, org)
	}
	for _, org := range []ids.Org{"org_bad", "org_away"} {
		_, err := c.Upstreams[0].OwnKey(t.Context(), models.Session{Org: org})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "own")
	}
	require.NoError(t, os.WriteFile(path, []byte("upstreams: [{name: a, base_url: 'http://a.example/v1', organization_secret: lower}]"), 0o600))
	_, err = models.ReadFile(path, "USD", secret)
	require.ErrorContains(t, err, "organization_secret")
}
