package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/internal/testenv"
	"agentmarket/store"
)

// Of is the stores of a database.
func Of(db *store.DB) Stores {
	agents := db.Agents()
	return Stores{Marketplace: db.Marketplace(), Agents: agents, Names: agents, Channels: agents, Runs: db.Runs(), Control: db.Product(), Bodies: db.Runs(), Reconcile: db.Runs(), Sessions: db.Runs(), Tools: db.Runs()}
}

// Open opens a database, migrates it and closes it at the end of the test.
func Open(tb testing.TB, config store.Config) *store.DB {
	tb.Helper()
	db, err := store.Open(tb.Context(), config)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	require.NoError(tb, db.Migrate(tb.Context()))
	return db
}

// SQLite returns an empty store in a SQLite file of its own.
func SQLite(tb testing.TB) *store.DB {
	tb.Helper()
	file, err := migratedFile()
	require.NoError(tb, err)
	u := SQLiteURL(tb)
	require.NoError(tb, os.WriteFile(strings.TrimPrefix(u, "sqlite://"), file, 0o600))
	db, err := store.Open(tb.Context(), store.Config{URL: u})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return db
}

// migratedFile is a SQLite file that is migrated once for the process; copying it
// is faster than migrating each one.
var migratedFile = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "agentmarket-sqlite-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "store.db")
	db, err := store.Open(context.Background(), store.Config{URL: "sqlite://" + filepath.ToSlash(file)})
	if err != nil {
		return nil, err
	}
	// Closing carries the log over into the file.
	if err := errors.Join(db.Migrate(context.Background()), db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// SQLiteURL names a SQLite file that does not exist yet.
func SQLiteURL(tb testing.TB) string {
	return "sqlite://" + filepath.ToSlash(filepath.Join(tb.TempDir(), "store.db"))
}

// Postgres returns an empty store in a PostgreSQL database of its own. The
// package needs testenv.Main as its TestMain.
func Postgres(tb testing.TB) *store.DB {
	tb.Helper()
	db, err := store.Open(tb.Context(), store.Config{URL: PostgresURL(tb)})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return db
}

// PostgresURL names a PostgreSQL database of its own, already migrated. It is
// dropped at the end of the test.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	server := testenv.Postgres(tb)
	name, err := template(server)
	require.NoError(tb, err)
	return server.URL(database(tb, server, name))
}

// EmptyPostgresURL is PostgresURL before any migration.
func EmptyPostgresURL(tb testing.TB) string {
	tb.Helper()
	server := testenv.Postgres(tb)
	return server.URL(database(tb, server, ""))
}

func database(tb testing.TB, server *testenv.PostgresServer, template string) string {
	tb.Helper()
	name, err := server.CreateDatabase(tb.Context(), template)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, server.DropDatabase(context.Background(), name)) })
	return name
}

var migrated struct {
	once sync.Once
	name string
	err  error
}

// template returns a database that is migrated once for the process; copying it
// is faster than migrating each one.
func template(server *testenv.PostgresServer) (string, error) {
	migrated.once.Do(func() {
		ctx := context.Background()
		if migrated.name, migrated.err = server.CreateDatabase(ctx, ""); migrated.err != nil {
			return
		}
		var db *store.DB
		if db, migrated.err = store.Open(ctx, store.Config{URL: server.URL(migrated.name)}); migrated.err != nil {
			return
		}
		migrated.err = db.Migrate(ctx)
		_ = db.Close()
	})
	return migrated.name, migrated.err
}
