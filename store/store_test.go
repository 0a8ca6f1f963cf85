package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/internal/storetest"
	"agentmarket/internal/testenv"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// dialects opens an empty, migrated database of each kind.
var dialects = map[string]func(testing.TB) *store.DB{
	"postgres": storetest.Postgres,
	"sqlite":   storetest.SQLite,
}

// each runs a test on both databases.
func each(t *testing.T, test func(t *testing.T, db *store.DB)) {
	for name, open := range dialects {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func TestConformance(t *testing.T) {
	for name, open := range dialects {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Stores { return storetest.Of(open(t)) })
		})
	}
}

// Two processes may share a SQLite file, such as a server and a client command.
func TestSQLiteFileOfTwoProcesses(t *testing.T) {
	u := storetest.SQLiteURL(t)
	first, second := storetest.Open(t, store.Config{URL: u}), storetest.Open(t, store.Config{URL: u})
	org, err := marketplace.NewOrganization("acme", time.Now())
	require.NoError(t, err)
	require.NoError(t, first.Marketplace().CreateOrganization(t.Context(), audit.System("test"), org))
	const writers = 50
	errs := make([]error, writers)
	var done sync.WaitGroup
	for i := range writers {
		db := []*store.DB{first, second}[i%2]
		done.Go(func() {
			for range 5 {
				key, _ := marketplace.NewAPIKey(org.ID, "key", marketplace.RoleMember, nil, time.Now())
				errs[i] = errors.Join(errs[i], db.Marketplace().CreateAPIKey(t.Context(), audit.System("test"), key))
			}
		})
	}
	done.Wait()
	require.NoError(t, errors.Join(errs...))
}

// A relay does not wait for a rival that works on a run: it takes the others.
func TestPostgresClaimSkipsWhatARivalHolds(t *testing.T) {
	u := storetest.PostgresURL(t)
	db := open(t, store.Config{URL: u, StatementTimeout: 5 * time.Second})
	storetest.Fill(t, storetest.Of(db), 2)
	rival, err := pgx.Connect(t.Context(), u)
	require.NoError(t, err)
	defer func() { _ = rival.Close(context.Background()) }()
	due := time.Now().Add(-time.Hour)
	_, err = rival.Exec(t.Context(), "UPDATE runs SET dispatch_due_at = CASE WHEN status = 'canceling' THEN $1::timestamptz END", due)
	require.NoError(t, err)

	tx, err := rival.Begin(t.Context())
	require.NoError(t, err)
	var held string
	require.NoError(t, tx.QueryRow(t.Context(), "SELECT id FROM runs WHERE status = 'canceling' ORDER BY id LIMIT 1 FOR UPDATE").Scan(&held))
	claimed, err := db.Runs().ClaimDispatch(t.Context(), time.Now(), time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, claimed, 3)
	for _, run := range claimed {
		require.NotEqual(t, held, string(run.ID))
	}
	require.NoError(t, tx.Rollback(t.Context()))
	claimed, err = db.Runs().ClaimDispatch(t.Context(), time.Now(), time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	require.Equal(t, held, string(claimed[0].ID))
}

// What waits for the end of an attempt to be reported sees it: nothing is told of an
// attempt behind its end.
func TestPostgresTellsNothingBehindAReport(t *testing.T) {
	u := storetest.PostgresURL(t)
	db := open(t, store.Config{URL: u, StatementTimeout: 20 * time.Second})
	run := storetest.NewWorld(t, storetest.Of(db)).Going(t, 1)
	rival, err := pgx.Connect(t.Context(), u)
	require.NoError(t, err)
	defer func() { _ = rival.Close(context.Background()) }()
	tx, err := rival.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT 1 FROM runs WHERE id = $1 FOR UPDATE", run.ID)
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "UPDATE run_attempts SET reported_at = now() WHERE run_id = $1", run.ID)
	require.NoError(t, err)

	told := make(chan error, 1)
	go func() {
		told <- db.Runs().TellEvents(t.Context(), []product.Told{{
			Run: run.ID, Attempt: 1, Events: []product.Event{{Type: product.EventAgentNote, At: time.Now()}},
		}})[0]
	}()
	watcher, err := pgx.Connect(t.Context(), u)
	require.NoError(t, err)
	defer func() { _ = watcher.Close(context.Background()) }()
	require.Eventually(t, func() bool {
		var waiting int
		err := watcher.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()").Scan(&waiting)
		return err == nil && waiting > 0
	}, 10*time.Second, 10*time.Millisecond, "the events wait for the report")
	require.NoError(t, tx.Commit(t.Context()))
	require.True(t, fault.Is(<-told, fault.Conflict))
}
