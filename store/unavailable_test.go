package store_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/internal/testenv"
	"agentmarket/marketplace"
	"agentmarket/store"
)

func requireUnavailable(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "kind of %v", err)
}

func TestUnavailableWhenNothingListens(t *testing.T) {
	_, err := store.Open(t.Context(), store.Config{URL: "postgres://user:hunter2@127.0.0.1:1/db?sslmode=disable"})
	requireUnavailable(t, err)
	require.NotContains(t, err.Error(), "hunter2")
	_, err = store.Open(t.Context(), store.Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "missing", "store.db")})
	requireUnavailable(t, err)
}

func TestUnavailableWhenTimeIsUpOrTheStoreIsClosed(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		_, err := db.Runs().Run(late, "run_x")
		requireUnavailable(t, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = db.Runs().UpdateRun(late, "run_x", nil)
		requireUnavailable(t, err)
		requireUnavailable(t, db.Ping(late))

		require.NoError(t, db.Close())
		_, err = db.Runs().Run(t.Context(), "run_x")
		requireUnavailable(t, err)
		org, err := marketplace.NewOrganization("acme", time.Now())
		require.NoError(t, err)
		requireUnavailable(t, db.Marketplace().CreateOrganization(t.Context(), audit.System("test"), org))
	})
}

func TestPostgresUnavailableWhileItCannotAnswer(t *testing.T) {
	u := storetest.PostgresURL(t)
	db := open(t, store.Config{URL: u, StatementTimeout: 200 * time.Millisecond})
	other, err := pgx.Connect(t.Context(), u)
	require.NoError(t, err)
	defer func() { _ = other.Close(context.Background()) }()

	t.Run("a lock that is held too long", func(t *testing.T) {
		tx, err := other.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
		require.NoError(t, err)
		_, err = db.Runs().Run(t.Context(), "run_x")
		requireUnavailable(t, err)
		require.NoError(t, tx.Rollback(t.Context()))
	})
	t.Run("connections that the server ends", func(t *testing.T) {
		require.NoError(t, db.Ping(t.Context()))
		name := other.Config().Database
		server := testenv.Postgres(t)
		require.NoError(t, server.Exec(t.Context(), "ALTER DATABASE "+name+" WITH ALLOW_CONNECTIONS false"))
		require.NoError(t, server.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name))
		_, err := db.Runs().Run(t.Context(), "run_x")
		requireUnavailable(t, err)
		require.NoError(t, server.Exec(t.Context(), "ALTER DATABASE "+name+" WITH ALLOW_CONNECTIONS true"))
		_, err = db.Runs().Run(t.Context(), "run_x")
		require.Equal(t, fault.NotFound, fault.KindOf(err), "the pool recovers by itself: %v", err)
	})
}

func TestPostgresRefusesTextThatItCannotHold(t *testing.T) {
	_, err := storetest.Postgres(t).Agents().AgentByName(t.Context(), "acme", "a\x00b")
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
}

func TestLogHasNoValues(t *testing.T) {
	for name, newURL := range empty {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			logger := slog.New(slog.NewTextHandler(&text, nil))
			db := open(t, store.Config{URL: newURL(t), SlowQuery: time.Nanosecond, Logger: logger})
			_, err := db.Marketplace().OrganizationByName(t.Context(), "private-name")
			require.Equal(t, fault.Internal, fault.KindOf(err), "there are no tables")
			require.Contains(t, text.String(), "query failed")
			require.NoError(t, db.Migrate(t.Context()))
			_, err = db.Marketplace().Organization(t.Context(), ids.Org("private-org"))
			require.Equal(t, fault.NotFound, fault.KindOf(err))
			require.Contains(t, text.String(), "query slow")
			require.NotContains(t, text.String(), "private")
		})
	}
}
