package store_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/internal/storetest"
	"agentmarket/product"
	"agentmarket/store"
)

// Whoever takes, gives back and hands over slots takes the locks in one order. A
// transaction that the database sent back would be repeated, and not be noticed.
func TestSlotsHaveNoDeadlock(t *testing.T) {
	u := storetest.PostgresURL(t)
	db := storetest.Open(t, store.Config{URL: u})
	storetest.Traffic(t, storetest.Of(db))
	require.NoError(t, db.Close()) // the sessions report at their end

	conn, err := pgx.Connect(t.Context(), u)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	var deadlocks, commits int
	require.NoError(t, conn.QueryRow(t.Context(),
		"SELECT deadlocks, xact_commit FROM pg_stat_database WHERE datname = current_database()").Scan(&deadlocks, &commits))
	require.Greater(t, commits, 500, "the statistics are there")
	require.Zero(t, deadlocks)
}

// What no process of the platform leaves behind is mended all the same.
func TestSlotsAreRepaired(t *testing.T) {
	for name, open := range map[string]func() (driver, u string){
		"postgres": func() (string, string) { return "pgx", storetest.PostgresURL(t) },
		"sqlite":   func() (string, string) { return "sqlite", storetest.SQLiteURL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			driver, u := open()
			slots := storetest.Open(t, store.Config{URL: u}).Product()
			raw, err := sql.Open(driver, strings.TrimPrefix(u, "sqlite://"))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, raw.Close()) })
			now := time.Now()
			scopes := []product.Scope{
				product.PlatformScope(), {Kind: product.ScopeOrganization, ID: "org_1"}, product.UserScope("org_1", "key_1"),
				{Kind: product.ScopeAgent, ID: "agt_1"}, {Kind: product.ScopePublisher, ID: "org_2"}, {Kind: product.ScopeQuota, ID: "org_1"},
			}
			for _, scope := range scopes {
				_, err := slots.SetLimit(t.Context(), audit.System("test"), "org_1", product.Limit{Scope: scope, ConcurrentRuns: 1, UpdatedAt: now})
				require.NoError(t, err)
			}
			const place = `'org_1', 'key_1', '', 'agt_1', 'org_2', 500, 128`
			for _, statement := range []string{
				`INSERT INTO slots VALUES ('run_gone', ` + place + `, '2026-01-01 00:00:00.000000Z')`,
				`INSERT INTO queue VALUES ('run_lost', ` + place + `, 0, 'agent:agt_1', 'concurrent_runs', '2026-01-01 00:00:00.000000Z', NULL, NULL)`,
				`UPDATE limits SET running = 3, cpu_in_flight = 7 WHERE kind <> 'publisher'`,
			} {
				_, err := raw.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			repair, granted, err := slots.RepairSlots(t.Context(), now)
			require.NoError(t, err)
			require.Empty(t, granted)
			require.Equal(t, product.Repair{Leaked: 1, Stranded: 1, Counters: 5}, repair)
			_, usages, err := slots.Limits(t.Context(), scopes, now)
			require.NoError(t, err)
			require.Len(t, usages, len(scopes))
			for _, u := range usages {
				require.Equal(t, product.Usage{Scope: u.Scope}, u)
			}
			repair, _, err = slots.RepairSlots(t.Context(), now)
			require.NoError(t, err)
			require.Equal(t, product.Repair{}, repair)
		})
	}
}
