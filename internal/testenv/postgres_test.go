package testenv

import (
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestPostgresServer(t *testing.T) {
	server, err := StartPostgres()
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop() })

	name, err := server.CreateDatabase(t.Context(), "")
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), server.URL(name))
	require.NoError(t, err)
	var database string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_database()").Scan(&database))
	require.Equal(t, name, database)
	require.NoError(t, server.DropDatabase(t.Context(), name), "even while somebody is connected")
	_ = conn.Close(t.Context())

	pid, folder := server.process.Process.Pid, server.folder
	require.NoError(t, server.Stop())
	require.NoError(t, server.Stop(), "a second stop is harmless")
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "the process is gone")
	_, err = os.Stat(folder)
	require.ErrorIs(t, err, os.ErrNotExist)
}
