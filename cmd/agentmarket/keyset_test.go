package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
	"agentmarket/secrets"
)

// TestReencrypt: a key that was replaced can go when nothing needs it.
func TestReencrypt(t *testing.T) {
	store, c := aStore(t), secrets.Config{File: filepath.Join(t.TempDir(), "keyset.json")}
	var out bytes.Buffer
	run := func(command string) error {
		out.Reset()
		return manageKeyset(t.Context(), command, c, func() (marketplace.SecretStore, func(), error) { return store, func() {}, nil }, &out)
	}
	org, err := marketplace.NewOrganization("acme", now)
	require.NoError(t, err)
	require.NoError(t, store.CreateOrganization(t.Context(), onThisComputer, org))
	put := func(name string) {
		vault, err := secrets.Open(t.Context(), c)
		require.NoError(t, err)
		s := marketplace.Secret{OrgID: org.ID, Name: name, UpdatedAt: now}
		s.Sealed, err = vault.Seal([]byte("value of "+name), s.Place())
		require.NoError(t, err)
		_, err = store.PutSecret(t.Context(), onThisComputer, s)
		require.NoError(t, err)
	}
	require.NoError(t, run("create"))
	put("OLD")
	put("OLDER")
	require.NoError(t, run("rotate"))
	put("NEW")
	require.ErrorContains(t, run("prune"), "2 secrets need an older key")
	require.NoError(t, run("reencrypt"))
	require.Equal(t, "2 secrets encrypted anew\n", out.String())
	require.NoError(t, run("reencrypt"))
	require.Equal(t, "0 secrets encrypted anew\n", out.String())
	before, err := os.ReadFile(c.File)
	require.NoError(t, err)
	require.NoError(t, run("prune"))
	after, err := os.ReadFile(c.File)
	require.NoError(t, err)
	require.Less(t, len(after), len(before))
	vault, err := secrets.Open(t.Context(), c)
	require.NoError(t, err)
	for _, name := range []string{"OLD", "OLDER", "NEW"} {
		s, err := store.Secret(t.Context(), org.ID, name)
		require.NoError(t, err)
		require.EqualValues(t, 1, s.Version, "it is the same value")
		value, err := vault.Open(s.Sealed, s.Place())
		require.NoError(t, err)
		require.Equal(t, "value of "+name, string(value))
	}

	// What was sealed with a key that nobody has ends it, and stays as it is.
	s, err := store.Secret(t.Context(), org.ID, "NEW")
	require.NoError(t, err)
	s.Sealed = []byte("nonsense")
	_, err = store.PutSecret(t.Context(), onThisComputer, s)
	require.NoError(t, err)
	require.ErrorContains(t, run("reencrypt"), "NEW")
}

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
