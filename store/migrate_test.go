package store_test

import (
	"database/sql"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"agentmarket/internal/storetest"
	"agentmarket/store"
)

// empty names a database of each kind before any migration.
var empty = map[string]func(testing.TB) string{
	"postgres": storetest.EmptyPostgresURL,
	"sqlite":   storetest.SQLiteURL,
}

func open(t *testing.T, config store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func requireVersion(t *testing.T, db *store.DB, want int64) (known int64) {
	t.Helper()
	applied, known, err := db.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, applied)
	return known
}

func TestMigrateUpDownUp(t *testing.T) {
	for name, newURL := range empty {
		t.Run(name, func(t *testing.T) {
			u := newURL(t)
			db := open(t, store.Config{URL: u})
			known := requireVersion(t, db, 0)
			require.NoError(t, db.Migrate(t.Context()))
			requireVersion(t, db, known)
			first := columns(t, u)
			require.NotEmpty(t, first)
			storetestWrites(t, db)

			require.NoError(t, db.MigrateDown(t.Context(), 0), "with rows in the tables")
			requireVersion(t, db, 0)
			require.Empty(t, columns(t, u))

			require.NoError(t, db.Migrate(t.Context()))
			require.NoError(t, db.Migrate(t.Context()), "a second time is harmless")
			requireVersion(t, db, known)
			require.Empty(t, cmp.Diff(first, columns(t, u)))
			storetestWrites(t, db)
		})
	}
}

// storetestWrites puts a row into every table.
func storetestWrites(t *testing.T, db *store.DB) {
	t.Helper()
	storetest.Fill(t, storetest.Of(db), 1)
}

func TestMigrateTogether(t *testing.T) {
	for name, newURL := range empty {
		t.Run(name, func(t *testing.T) {
			u := newURL(t)
			const processes = 4
			errs := make([]error, processes)
			var done sync.WaitGroup
			for i := range processes {
				db := open(t, store.Config{URL: u})
				done.Go(func() { errs[i] = db.Migrate(t.Context()) })
			}
			done.Wait()
			for _, err := range errs {
				require.NoError(t, err)
			}
			storetestWrites(t, open(t, store.Config{URL: u}))
		})
	}
}

func TestDialectsHaveTheSameColumns(t *testing.T) {
	postgres := storetest.PostgresURL(t)
	sqlite := storetest.SQLiteURL(t)
	require.NoError(t, open(t, store.Config{URL: sqlite}).Migrate(t.Context()))
	require.Empty(t, cmp.Diff(columns(t, postgres), columns(t, sqlite)))
}

// columns lists table.column, and whether it may be null, without goose's own
// table and without what only one of the databases searches the catalog with:
// listings.search on PostgreSQL; the tables of FTS5, and the number by which they
// know a listing, on SQLite.
func columns(t *testing.T, databaseURL string) []string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	driver, dsn := "pgx", databaseURL
	query := `SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'YES' THEN ' NULL' ELSE ' NOT NULL' END
		FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'schema_migrations'
			AND (table_name <> 'listings' OR column_name <> 'search')`
	if u.Scheme == "sqlite" {
		driver, dsn = "sqlite", u.Path
		query = `SELECT m.name || '.' || c.name || CASE c."notnull" WHEN 0 THEN ' NULL' ELSE ' NOT NULL' END
			FROM sqlite_master m JOIN pragma_table_info(m.name) c
			WHERE m.type = 'table' AND m.name NOT IN ('schema_migrations', 'sqlite_sequence')
			AND m.name NOT GLOB 'listing_search*' AND (m.name <> 'listings' OR c.name <> 'rowid')`
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var column string
		require.NoError(t, rows.Scan(&column))
		list = append(list, column)
	}
	require.NoError(t, rows.Err())
	slices.Sort(list)
	return list
}
