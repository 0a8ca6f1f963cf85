package store_test

import (
	"database/sql"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/store"
)

// raw opens a database below the store.
func raw(t *testing.T, databaseURL string) *sql.DB {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	driver, dsn := "pgx", databaseURL
	if u.Scheme == "sqlite" {
		driver, dsn = "sqlite", "file:"+u.Path+"?_foreign_keys=on&_busy_timeout=10000"
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func execAll(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

func requireCount(t *testing.T, db *sql.DB, want int, from string) {
	t.Helper()
	var got int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+from).Scan(&got), from)
	require.Equal(t, want, got, from)
}

// Rows of the first version that the second one takes over. Both databases read
// the texts.
var firstVersionRows = []string{
	`INSERT INTO organizations (id, name, created_at) VALUES
		('org_1', 'acme', '2026-01-01 00:00:00.000000Z'), ('org_2', 'buyer', '2026-01-01 00:00:00.000000Z')`,
	`INSERT INTO agents (id, org_id, publisher, name, summary, search_text, latest_version_id, latest, created_at, updated_at) VALUES
		('agt_1', 'org_1', 'acme', 'a', '', '', 'ver_1', '1.0.0', '2026-01-01 00:00:00.000000Z', '2026-01-01 00:00:00.000000Z'),
		('agt_2', 'org_1', 'acme', 'b', '', '', 'ver_2', '1.0.0-rc.1', '2026-01-01 00:00:00.000000Z', '2026-01-01 00:00:00.000000Z')`,
	`INSERT INTO agent_versions (id, agent_id, number, manifest, image, created_at) VALUES
		('ver_1', 'agt_1', '1.0.0', '{}', 'image', '2026-01-01 00:00:00.000000Z'),
		('ver_2', 'agt_2', '1.0.0-rc.1', '{}', 'image', '2026-01-01 00:00:00.000000Z')`,
	`INSERT INTO entitlements (id, org_id, agent_id, source, created_at) VALUES
		('ent_1', 'org_1', 'agt_1', 'ownership', '2026-01-01 00:00:00.000000Z'),
		('ent_2', 'org_2', 'agt_1', 'grant', '2026-01-01 00:00:00.000000Z')`,
	`INSERT INTO runs (id, org_id, key_id, agent_id, agent, version_id, version, image, status, reason, cause, message, labels,
		request, created_at, input_size, cancel_requested_by, cancel_reason, cancel_force, last_event_seq, dispatch_due_at) VALUES
		('run_1', 'org_2', 'key_1', 'agt_1', 'acme/a', 'ver_1', '1.0.0', 'image', 'queued', '', '', '', '{"a":"b"}',
		'{}', '2026-01-01 00:00:00.000000Z', 2, '', '', false, 1, '2026-01-01 00:00:01.000000Z')`,
	`INSERT INTO run_inputs (run_id, body) VALUES ('run_1', '{}')`,
	`INSERT INTO run_attempts (run_id, number, reason, message, created_at) VALUES ('run_1', 1, '', '', '2026-01-01 00:00:00.000000Z')`,
	`INSERT INTO run_events (run_id, seq, type, at, attempt, message) VALUES ('run_1', 1, 'created', '2026-01-01 00:00:00.000000Z', 0, '')`,
	`INSERT INTO idempotency_keys (org_id, key, fingerprint, run_id, created_at) VALUES
		('org_2', 'k', 'f', 'run_1', '2026-01-01 00:00:00.000000Z')`,
}

func TestMarketplaceMigrationKeepsRows(t *testing.T) {
	const first = 1
	for name, newURL := range empty {
		t.Run(name, func(t *testing.T) {
			u := newURL(t)
			db, rows := open(t, store.Config{URL: u}), raw(t, u)
			require.NoError(t, db.Migrate(t.Context()))
			require.NoError(t, db.MigrateDown(t.Context(), first))
			execAll(t, rows, firstVersionRows...)

			for range 2 { // there and back, twice
				require.NoError(t, db.Migrate(t.Context()))
				requireCount(t, rows, 1, "runs WHERE status = 'queued' AND user_id = '' AND cost_micros = 0 AND dispatch_due_at IS NOT NULL")
				requireCount(t, rows, 2, "entitlements WHERE used_runs = 0 AND revoked_at IS NULL")
				requireCount(t, rows, 1, "agents WHERE latest_release_id = 'ver_1'")
				requireCount(t, rows, 1, "agents WHERE latest_release_id IS NULL")
				requireCount(t, rows, 8, "accounts")
				requireCount(t, rows, 1, "accounts WHERE id = 'wallet:org_2' AND kind = 'wallet' AND org_id = 'org_2'")

				execAll(t, rows,
					`UPDATE runs SET status = 'budget_exhausted', dispatch_due_at = NULL`,
					`INSERT INTO entitlements (id, org_id, agent_id, source, created_at)
						VALUES ('ent_3', 'org_2', 'agt_1', 'grant', '2026-01-02 00:00:00.000000Z'),
						('ent_0', 'org_2', 'agt_1', 'purchase', '2026-01-02 00:00:00.000000Z')`)
				require.Error(t, db.MigrateDown(t.Context(), first), "the version before does not know the state")
				requireCount(t, rows, 4, "entitlements")
				execAll(t, rows, `UPDATE runs SET status = 'queued', dispatch_due_at = '2026-01-01 00:00:01.000000Z'`)
				require.NoError(t, db.MigrateDown(t.Context(), first))
				requireCount(t, rows, 2, "entitlements WHERE id IN ('ent_1', 'ent_2')")
				requireCount(t, rows, 2, "entitlements")
				requireCount(t, rows, 1, "runs")
			}
			for _, statement := range []string{
				"DELETE FROM runs", // others refer to it
				"INSERT INTO run_inputs (run_id, body) VALUES ('run_none', '')",
			} {
				_, err := rows.ExecContext(t.Context(), statement)
				require.Error(t, err, statement)
			}
		})
	}
}

// What must never change does not, for those who go around the store either.
func TestAppendOnly(t *testing.T) {
	for name, newURL := range empty {
		t.Run(name, func(t *testing.T) {
			u := newURL(t)
			require.NoError(t, open(t, store.Config{URL: u}).Migrate(t.Context()))
			rows := raw(t, u)
			execAll(t, rows,
				`INSERT INTO audit_entries (id, org_id, actor_kind, actor_id, actor_org, request_id, action, subject, at)
					VALUES ('aud_1', 'org_1', 'key', 'key_1', 'org_1', '', 'key.create', 'key_1', '2026-01-01 00:00:00.000000Z')`,
				`INSERT INTO ledger_transactions (id, kind, org_id, publisher_id, run_id, order_id, of_id, agent_id, agent, reason, month,
					costs, created_by, created_at) VALUES ('txn_1', 'credit', 'org_1', '', '', '', '', '', '', '', '2026-01', '[]', '',
					'2026-01-01 00:00:00.000000Z')`,
				`INSERT INTO ledger_lines (account_id, transaction_id, month, amount_micros, balance_micros, currency, seq)
					VALUES ('external', 'txn_1', '2026-01', -1, -1, 'USD', 1)`)
			for table, column := range map[string]string{
				"audit_entries": "subject", "ledger_transactions": "reason", "ledger_lines": "currency",
			} {
				statements := []string{"UPDATE " + table + " SET " + column + " = 'other'", "DELETE FROM " + table}
				if name == "postgres" {
					statements = append(statements, "TRUNCATE "+table+" CASCADE")
				}
				for _, statement := range statements {
					_, err := rows.ExecContext(t.Context(), statement)
					require.ErrorContains(t, err, "append-only", statement)
				}
				requireCount(t, rows, 1, table+" WHERE "+column+" <> 'other'")
			}
		})
	}
}
