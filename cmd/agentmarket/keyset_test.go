package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/secrets"
)

func TestKeysetCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keyset.json")
	run := func(args ...string) error { return run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}) }
	t.Setenv("AGENTMARKET_SECRETS_KEYSET_FILE", "")
	require.ErrorContains(t, run("secrets", "create"), "AGENTMARKET_SECRETS_KEYSET_FILE")
	t.Setenv("AGENTMARKET_SECRETS_KEYSET_FILE", file)
	require.NoError(t, run("secrets", "create"))
	require.Error(t, run("secrets", "create"))
	require.NoError(t, run("secrets", "rotate"))
	require.ErrorIs(t, run("secrets", "show"), errUsage)
	_, err := secrets.Open(t.Context(), secrets.Config{File: file})
	require.NoError(t, err)
}
