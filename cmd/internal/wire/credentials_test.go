package wire

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/secrets"
)

// TestCredentials: operators have files, organizations what they wrote; nobody has those
// of another.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "SEARCH"), []byte("of the operator"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "LARGE"), make([]byte, maxSecret+1), 0o600))
	keys := secrets.Config{File: filepath.Join(t.TempDir(), "keyset.json")}
	require.NoError(t, secrets.Create(t.Context(), keys))
	vault, err := secrets.Open(t.Context(), keys)
	require.NoError(t, err)
	market := storetest.SQLite(t).Marketplace()
	org, err := marketplace.NewOrganization("acme", time.Now())
	require.NoError(t, err)
	require.NoError(t, market.CreateOrganization(t.Context(), audit.System("test"), org))
	secret := marketplace.Secret{OrgID: org.ID, Name: "SEARCH", UpdatedAt: time.Now()}
	secret.Sealed, err = vault.Seal([]byte("of acme"), secret.Place())
	require.NoError(t, err)
	_, err = market.PutSecret(t.Context(), audit.System("test"), secret)
	require.NoError(t, err)

	c := credentials{dir: dir, secrets: market, vault: vault}
	got, err := c.Secret(t.Context(), "", "SEARCH")
	require.NoError(t, err)
	require.Equal(t, "of the operator", string(got))
	got, err = c.Secret(t.Context(), org.ID, "SEARCH")
	require.NoError(t, err)
	require.Equal(t, "of acme", string(got))
	for _, name := range []string{"NONE", "../SEARCH", "search", ""} {
		_, err = c.Secret(t.Context(), "", name)
		require.True(t, fault.Is(err, fault.NotFound), "%s: %v", name, err)
		_, err = c.Secret(t.Context(), org.ID, name)
		require.True(t, fault.Is(err, fault.NotFound), "%s: %v", name, err)
	}
	_, err = c.Secret(t.Context(), "", "LARGE")
	require.ErrorContains(t, err, "more than")
	_, err = credentials{secrets: market}.Secret(t.Context(), org.ID, "SEARCH")
	require.Equal(t, secrets.CodeNotConfigured, fault.From(err).Code)
}
