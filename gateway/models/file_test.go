package models_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/gateway/models"
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
	c, err := models.ReadFile(write("models.yaml", good), "EUR")
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
	free, err := models.ReadFile(write("free.yaml", "upstreams: [{name: a, base_url: 'http://a.example/v1'}]\nmodels: [{name: m, upstream: a, upstream_name: m, max_output_tokens: 1}]"), "USD")
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
			_, err := models.ReadFile(write("bad.yaml", text), "USD")
			require.Error(t, err)
			require.NotContains(t, err.Error(), "sk-")
		})
	}
	_, err = models.ReadFile(filepath.Join(dir, "none"), "USD")
	require.ErrorIs(t, err, os.ErrNotExist)
}
