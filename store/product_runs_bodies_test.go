package store_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/product"
	"agentmarket/store"
)

// tables names the tables of a database, on both of them.
var tables = map[string]string{
	"postgres": `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`,
	"sqlite":   `SELECT name FROM sqlite_master WHERE type = 'table'`,
}

// rowsWith counts the rows of each table that hold a word somewhere.
func rowsWith(t *testing.T, db *sql.DB, dialect, word string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, table := range texts(t, db, tables[dialect]) {
		for _, row := range texts(t, db, `SELECT * FROM "`+table+`"`) {
			if strings.Contains(row, word) {
				found[table]++
			}
		}
	}
	return found
}

// texts are the rows that a query finds, each as one text.
func texts(t *testing.T, db *sql.DB, query string) (found []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...), query)
		row := make([]string, len(values))
		for i, value := range values {
			row[i] = string(value)
		}
		found = append(found, strings.Join(row, " "))
	}
	require.NoError(t, rows.Err())
	return found
}

// What the agent wrote is in no table any more when the time of its data is over,
// nor is what the caller sent to it.
func TestNothingIsLeftOfRemovedData(t *testing.T) {
	const sent, said = "a-word-of-the-caller", "a-word-of-the-agent"
	start := time.Now().Add(-time.Hour)
	for name, newURL := range empty {
		t.Run(name, func(t *testing.T) {
			u := newURL(t)
			db, rows := storetest.Open(t, store.Config{URL: u}), raw(t, u)
			storetest.Fill(t, storetest.Of(db), 1)
			agent, err := db.Agents().AgentByName(t.Context(), "org-0", "agent-0")
			require.NoError(t, err)
			version, err := db.Agents().VersionByNumber(t.Context(), agent.ID, product.Latest)
			require.NoError(t, err)
			all, err := product.NewEndpoint(agent.OrgID, "https://hooks.example.com/", "", false, start)
			require.NoError(t, err)
			require.NoError(t, db.Product().CreateEndpoint(t.Context(), audit.System("test"), all))

			run := product.Run{
				ID: ids.New[ids.Run](ids.PrefixRun), OrgID: agent.OrgID, KeyID: "key_1", AgentID: agent.ID, Agent: agent.FullName(),
				VersionID: version.ID, Version: version.Number, Image: version.Image, Status: product.StatusQueued,
				CreatedAt: start, QueueDeadline: start.Add(time.Hour),
			}
			_, _, err = db.Runs().CreateRun(t.Context(), run, fmt.Appendf(nil, `{"a": %q}`, sent), nil)
			require.NoError(t, err)
			_, err = db.Runs().UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
				keep := product.Retention{Input: time.Minute, Output: time.Minute, Log: time.Minute}
				events := []*product.Event{r.Planned(product.Plan{Version: r.Version, Retention: keep, ResolvedAt: start}, start)}
				for n := range 2 {
					begin, err := r.BeginAttempt(n+1, start)
					if err != nil {
						return nil, err
					}
					end := product.End{Reason: "agent_error", Message: said}
					events = append(events, begin, r.AttemptEnded(n+1, end, start))
				}
				return append(events, r.Settle("agent_error", said, start)), nil
			})
			require.NoError(t, err)
			require.Equal(t, map[string]int{"run_inputs": 1}, rowsWith(t, rows, name, sent))
			// One delivery to the address above, and one to that which Fill leaves.
			require.Equal(t, map[string]int{"runs": 1, "run_attempts": 2, "webhook_deliveries": 2}, rowsWith(t, rows, name, said))

			require.NoError(t, db.Runs().DataRemoved(t.Context(), run.ID, start.Add(time.Minute)))
			require.Empty(t, rowsWith(t, rows, name, sent))
			require.Empty(t, rowsWith(t, rows, name, said))
		})
	}
}
