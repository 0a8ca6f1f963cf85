package testenv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKilledServerKeepsWhatItCommitted, three times.
func TestKilledServerKeepsWhatItCommitted(t *testing.T) {
	server := StartDurablePostgres(t)
	require.NoError(t, server.Exec(t.Context(), "CREATE TABLE kept (word TEXT)"))
	address := server.Address()
	var want []string
	for _, word := range []string{"one", "two", "three"} {
		require.NoError(t, server.Exec(t.Context(), "INSERT INTO kept VALUES ($1)", word))
		want = append(want, word)
		server.Kill()
		require.Error(t, server.Exec(t.Context(), "SELECT 1"), "nobody answers")
		require.NoError(t, server.Restart())
		require.Equal(t, address, server.Address())
		got, err := server.Strings(t.Context(), "postgres", "SELECT word FROM kept")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
