package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"agentmarket/internal/storetest"
	"agentmarket/product"
	"agentmarket/store"
)

// recorder keeps one example of the values for every statement.
type recorder struct {
	mu         sync.Mutex
	statements map[string][]any
}

func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements[data.SQL] = data.Args
	return ctx
}

func (*recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// planNode is a part of PostgreSQL's EXPLAIN (FORMAT JSON).
type planNode struct {
	NodeType  string     `json:"Node Type"`
	Relation  string     `json:"Relation Name"`
	Index     string     `json:"Index Name"`
	IndexCond string     `json:"Index Cond"`
	Plans     []planNode `json:"Plans"`
}

func (n planNode) walk(visit func(planNode)) {
	visit(n)
	for _, child := range n.Plans {
		child.walk(visit)
	}
}

// Every statement of the stores has an index: it neither reads a table from end
// to end, nor an index (that would be an index used for its order only).
func TestEveryStatementHasAnIndex(t *testing.T) {
	u := storetest.PostgresURL(t)
	seen := &recorder{statements: map[string][]any{}}
	db, err := store.OpenTraced(t.Context(), store.Config{URL: u}, seen)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	storetest.Fill(t, storetest.Of(db), 5)

	conn, err := pgx.Connect(t.Context(), u)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	// The tables of a test are small; where it is allowed they are read whole,
	// and joined by reading whole indexes.
	for _, prepare := range []string{"ANALYZE", "SET enable_seqscan = off",
		"SET enable_mergejoin = off", "SET enable_hashjoin = off", "SET enable_material = off"} {
		_, err = conn.Exec(t.Context(), prepare)
		require.NoError(t, err)
	}
	checked := 0
	for statement, args := range seen.statements {
		if !readsATable(statement) {
			continue
		}
		checked++
		var text []byte
		require.NoError(t, conn.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+statement, args...).Scan(&text), statement)
		var plans []struct{ Plan planNode }
		require.NoError(t, json.Unmarshal(text, &plans))
		plans[0].Plan.walk(func(n planNode) {
			require.NotEqual(t, "Seq Scan", n.NodeType, "%s is read from end to end by\n%s\n%s", n.Relation, statement, text)
			if n.Index != "" && n.NodeType != "ModifyTable" {
				require.NotEmpty(t, n.IndexCond, "the index %s is read from end to end by\n%s\n%s", n.Index, statement, text)
			}
		})
	}
	require.Greater(t, checked, 25, "the statements of Fill were recorded")
}

// The same for SQLite. Its statements come from the log, without values; the
// plan does not depend on them.
func TestEveryStatementHasAnIndexOnSQLite(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	u := storetest.SQLiteURL(t)
	db := storetest.Open(t, store.Config{URL: u, SlowQuery: time.Nanosecond, Logger: logger})
	storetest.Fill(t, storetest.Of(db), 3)

	raw, err := sql.Open("sqlite", strings.TrimPrefix(u, "sqlite://"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, raw.Close()) })
	statements := map[string]bool{}
	for line := range bytes.Lines(log.Bytes()) {
		var entry struct{ SQL string }
		require.NoError(t, json.Unmarshal(line, &entry))
		if readsATable(entry.SQL) {
			statements[entry.SQL] = true
		}
	}
	require.Greater(t, len(statements), 20, "the statements of Fill were logged")
	for statement := range statements {
		func() {
			rows, err := raw.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement, make([]any, strings.Count(statement, "?"))...)
			require.NoError(t, err, statement)
			defer rows.Close()
			for rows.Next() {
				var id, parent, unused int
				var detail string
				require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
				if table, isScan := strings.CutPrefix(detail, "SCAN "); isScan && !isSubquery(table, statement) {
					require.Contains(t, table, "VIRTUAL TABLE", "read from end to end by\n%s", statement)
				}
			}
			require.NoError(t, rows.Err())
		}()
	}
}

// isSubquery reports whether what is read from end to end is what a part of the
// statement itself has found.
func isSubquery(name, statement string) bool {
	name, _, _ = strings.Cut(name, " ")
	return strings.HasPrefix(name, "(") || strings.Contains(statement, ") AS "+name) ||
		strings.Contains(statement, name+" AS (") || strings.Contains(statement, name+" AS MATERIALIZED (") ||
		strings.Contains(statement, "RECURSIVE "+name+" (")
}

// A workflow repeats its updates; the second one must not cost a write.
func TestRepeatedUpdateWritesNothing(t *testing.T) {
	u := storetest.PostgresURL(t)
	storetest.Fill(t, storetest.Of(open(t, store.Config{URL: u})), 1)
	seen := &recorder{statements: map[string][]any{}}
	db, err := store.OpenTraced(t.Context(), store.Config{URL: u}, seen)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	org, err := db.Marketplace().OrganizationByName(t.Context(), "org-0")
	require.NoError(t, err)
	runs, err := db.Runs().Runs(t.Context(), org.ID, product.RunQuery{Agent: "org-0/agent-0", Statuses: []product.Status{product.StatusCanceling}})
	require.NoError(t, err)
	require.Len(t, runs, 1)
	_, err = db.Runs().UpdateRun(t.Context(), runs[0].ID, func(r *product.Run) ([]*product.Event, error) {
		require.NotEmpty(t, r.Attempts)
		return []*product.Event{nil}, nil
	})
	require.NoError(t, err)
	for statement := range seen.statements {
		require.False(t, strings.HasPrefix(statement, "UPDATE") || strings.HasPrefix(statement, "INSERT"), statement)
	}
}

func readsATable(statement string) bool {
	for _, verb := range []string{"SELECT", "UPDATE", "WITH"} {
		if strings.HasPrefix(strings.TrimSpace(statement), verb) {
			return true
		}
	}
	return false
}
