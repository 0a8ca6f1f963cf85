package secrets_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/secrets"
)

const (
	oneKey   = "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4="
	otherKey = "base64key://bmGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4="
)

func TestVault(t *testing.T) {
	for name, keeper := range map[string]string{"in the clear": "", "wrapped": oneKey} {
		t.Run(name, func(t *testing.T) {
			c := secrets.Config{File: filepath.Join(t.TempDir(), "keyset.json"), KeeperURL: keeper}
			require.NoError(t, secrets.Create(t.Context(), c))
			require.ErrorIs(t, secrets.Create(t.Context(), c), os.ErrExist, "a keyset is never overwritten")
			about, err := os.Stat(c.File)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), about.Mode().Perm())

			value := []byte("s3cret-value")
			vault, err := secrets.Open(t.Context(), c)
			require.NoError(t, err)
			sealed, err := vault.Seal(value, "secret org_1 TOKEN")
			require.NoError(t, err)
			require.False(t, bytes.Contains(sealed, value))
			again, err := vault.Seal(value, "secret org_1 TOKEN")
			require.NoError(t, err)
			require.NotEqual(t, sealed, again, "nobody sees that two values are the same")
			_, err = vault.Open(sealed, "secret org_2 TOKEN")
			require.Error(t, err)
			require.NotContains(t, err.Error(), string(value))
			sealed[len(sealed)-1] ^= 1
			_, err = vault.Open(sealed, "secret org_1 TOKEN")
			require.Error(t, err)
			sealed[len(sealed)-1] ^= 1

			require.NoError(t, secrets.Rotate(t.Context(), c))
			rotated, err := secrets.Open(t.Context(), c)
			require.NoError(t, err)
			got, err := rotated.Open(sealed, "secret org_1 TOKEN")
			require.NoError(t, err)
			require.Equal(t, value, got)
			newer, err := rotated.Seal(value, "x")
			require.NoError(t, err)
			_, err = vault.Open(newer, "x")
			require.Error(t, err, "what is sealed now is sealed with the new key")
		})
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	wrapped := secrets.Config{File: filepath.Join(dir, "wrapped"), KeeperURL: oneKey}
	require.NoError(t, secrets.Create(t.Context(), wrapped))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad"), []byte("{}"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "large"), make([]byte, 1<<20+1), 0o600))
	for name, c := range map[string]secrets.Config{
		"no file":         {File: filepath.Join(dir, "none")},
		"no keyset":       {File: filepath.Join(dir, "bad")},
		"too large":       {File: filepath.Join(dir, "large")},
		"another wrapper": {File: wrapped.File, KeeperURL: otherKey},
		"no wrapper":      {File: wrapped.File},
		"unknown wrapper": {File: wrapped.File, KeeperURL: "nokms://x"},
	} {
		_, err := secrets.Open(t.Context(), c)
		require.Error(t, err, name)
		require.Error(t, secrets.Rotate(t.Context(), c), name)
	}
}

func TestAVaultWithoutKeys(t *testing.T) {
	vault, err := secrets.Open(t.Context(), secrets.Config{})
	require.NoError(t, err)
	_, err = vault.Seal(nil, "x")
	require.True(t, fault.Is(err, fault.Conflict))
	_, err = vault.Open(nil, "x")
	require.Equal(t, secrets.CodeNotConfigured, fault.From(err).Code)
}
