package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
)

// The queue of BenchmarkAdmissions: runs of ten users of each of a hundred
// organizations, which all wait for one agent.
const (
	queuedRuns     = 10_000
	queueOrgs      = 100
	admissionLimit = 64
	admissionRound = 1000
	admissionUsers = 8
)

// BenchmarkAdmissions ends runs and begins others under a limit of their agent, as
// the workflows do: with nobody else in the queue the next run takes the slot, and
// with many it is handed to who is next.
func BenchmarkAdmissions(b *testing.B) {
	q := newQueue(b)
	var free, queued, waits []time.Duration
	var freeTime, queuedTime time.Duration
	for b.Loop() {
		if len(free) > 0 {
			continue
		}
		began := q.runs(b, "free", admissionRound+admissionLimit)
		for _, id := range began[:admissionLimit] {
			require.Nil(b, q.begin(b, id))
			q.going <- id
		}
		freeTime, free = measure(admissionUsers, admissionRound, func(i int) {
			require.Empty(b, q.end(b, <-q.going))
			id := began[admissionLimit+i]
			if wait := q.begin(b, id); wait != nil { // another one is quicker, rarely
				return
			}
			q.going <- id
		})
		q.drain(b)

		// Now the same with a queue: everybody waits for the agent.
		for _, id := range q.runs(b, "busy", admissionLimit) {
			require.Nil(b, q.begin(b, id))
			q.going <- id
		}
		q.fill(b)
		queuedTime, queued = measure(admissionUsers, admissionRound, func(int) {
			for _, id := range q.end(b, <-q.going) {
				require.Nil(b, q.begin(b, id))
				q.going <- id
			}
		})
		late := q.runs(b, "late", 100)
		_, waits = measure(1, len(late), func(i int) { require.NotNil(b, q.begin(b, late[i])) })
	}
	fmt.Printf("\n| what | a second | p50 | p99 | ratio |\n|---|---|---|---|---|\n")
	fmt.Printf("| run ends, the next begins, empty queue | %.0f | %s | %s | 1 |\n", float64(admissionRound)/freeTime.Seconds(),
		millis(quantile(free, 0.5)), millis(quantile(free, 0.99)))
	fmt.Printf("| run ends, the next begins, %d in the queue | %.0f | %s | %s | %.2f |\n", queuedRuns,
		float64(admissionRound)/queuedTime.Seconds(), millis(quantile(queued, 0.5)), millis(quantile(queued, 0.99)),
		freeTime.Seconds()/queuedTime.Seconds())
	fmt.Printf("| run enters that queue, with its position | | %s | %s | |\n", millis(quantile(waits, 0.5)), millis(quantile(waits, 0.99)))
	b.ReportMetric(freeTime.Seconds()/queuedTime.Seconds(), "ratio-to-empty-queue")
	b.ReportMetric(0, "ns/op")
	require.Greater(b, freeTime.Seconds()/queuedTime.Seconds(), 0.25, "a hand-over is one more transaction, however many wait")
}

type queue struct {
	db      *store.DB
	url     string
	buyers  []marketplace.Organization
	agent   product.Agent
	version product.Version
	going   chan ids.Run
}

func newQueue(b *testing.B) *queue {
	b.Helper()
	q := &queue{url: storetest.PostgresURL(b), going: make(chan ids.Run, 2*admissionLimit)}
	q.db = storetest.Open(b, store.Config{URL: q.url})
	by, now := audit.System("bench"), time.Now()
	for i := range queueOrgs {
		org, err := marketplace.NewOrganization(fmt.Sprint("buyer-", i), now)
		require.NoError(b, err)
		require.NoError(b, q.db.Marketplace().CreateOrganization(b.Context(), by, org))
		q.buyers = append(q.buyers, org)
	}
	agent := product.Agent{ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: q.buyers[0].ID, Publisher: q.buyers[0].Name, Name: "agent", CreatedAt: now, UpdatedAt: now}
	version, err := product.NewVersion(agent.ID, agentruntime.Manifest{
		APIVersion: agentruntime.APIVersion, Name: "agent", Version: "1.0.0", Command: []string{"/agent"}, InputSchema: json.RawMessage(`{}`),
		Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(),
	}, "registry.test/agents/a@sha256:"+strings.Repeat("a", 64), now)
	require.NoError(b, err)
	q.agent, q.version, _, err = q.db.Agents().AddVersion(b.Context(), by, agent, version)
	require.NoError(b, err)
	_, err = q.db.Product().SetLimit(b.Context(), by, "", product.Limit{
		Scope: product.Scope{Kind: product.ScopeAgent, ID: string(q.agent.ID)}, ConcurrentRuns: admissionLimit, UpdatedAt: now,
	})
	require.NoError(b, err)
	return q
}

// runs stores runs with a plan, of all organizations in turn.
func (q *queue) runs(b *testing.B, user string, n int) []ids.Run {
	b.Helper()
	list := make([]ids.Run, n)
	measure(admissionUsers, n, func(i int) {
		now := time.Now()
		run, _, err := q.db.Runs().CreateRun(b.Context(), product.Run{
			ID: ids.New[ids.Run](ids.PrefixRun), OrgID: q.buyers[i%queueOrgs].ID, KeyID: ids.Key("key_" + user), AgentID: q.agent.ID,
			Agent: q.agent.FullName(), VersionID: q.version.ID, Version: q.version.Number, Image: q.version.Image,
			Status: product.StatusQueued, CreatedAt: now, QueueDeadline: now.Add(time.Hour),
		}, []byte(`{}`), nil)
		require.NoError(b, err)
		_, err = q.db.Runs().UpdateRun(b.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
			plan := product.Plan{AgentID: q.agent.ID, PublisherID: q.agent.OrgID, Resources: product.Resources{CPUMillis: 500, MemoryMiB: 128}, ResolvedAt: now}
			return []*product.Event{r.Planned(plan, now)}, nil
		})
		require.NoError(b, err)
		list[i] = run.ID
	})
	return list
}

func (q *queue) begin(b *testing.B, id ids.Run) *product.Wait {
	now := time.Now()
	_, wait, err := q.db.Marketplace().AdmitRun(b.Context(), id, now, func(r *product.Run) ([]*product.Event, error) {
		e, err := r.BeginAttempt(1, now)
		return []*product.Event{e}, err
	}, func(r product.Run, _ marketplace.Claim, _ marketplace.Spending) (marketplace.Hold, error) {
		return marketplace.Hold{
			OrgID: r.OrgID, AgentID: r.AgentID, Publisher: q.agent.OrgID, Source: marketplace.SourceFree,
			Month: marketplace.MonthOf(now), CreatedAt: now,
		}, nil
	})
	require.NoError(b, err)
	return wait
}

func (q *queue) end(b *testing.B, id ids.Run) []ids.Run {
	now := time.Now()
	_, granted, err := q.db.Marketplace().SettleRun(b.Context(), id, now, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Settle(product.ReasonOK, "", now)}, nil
	}, func(product.Run, marketplace.Hold, marketplace.Used) marketplace.Settlement {
		return marketplace.Settlement{Counted: true, Seconds: 1}
	})
	require.NoError(b, err)
	return granted
}

// drain ends everything that goes on.
func (q *queue) drain(b *testing.B) {
	for {
		select {
		case id := <-q.going:
			for _, next := range q.end(b, id) {
				require.Nil(b, q.begin(b, next))
				q.going <- next
			}
		default:
			return
		}
	}
}

// fill puts runs into the queue that are copies of one.
func (q *queue) fill(b *testing.B) {
	b.Helper()
	waiting := q.runs(b, "waits", 1)[0]
	require.NotNil(b, q.begin(b, waiting))
	conn, err := pgx.Connect(b.Context(), q.url)
	require.NoError(b, err)
	defer func() { require.NoError(b, conn.Close(context.Background())) }()
	var orgs []string
	for _, org := range q.buyers {
		orgs = append(orgs, string(org.ID))
	}
	for _, table := range []string{"runs", "queue"} {
		id, user := "id", "key_id"
		if table == "queue" {
			id, user = "run_id", "starter"
		}
		_, err = conn.Exec(b.Context(), `INSERT INTO `+table+` SELECT (jsonb_populate_record(t, jsonb_build_object(
    '`+id+`', 'run_' || lpad(n::text, 26, '0'), 'org_id', ($2::text[])[n % cardinality($2::text[]) + 1], '`+user+`', 'key_' || n / $4::int % 10))).*
FROM `+table+` AS t, generate_series(1, $3::int) AS n WHERE t.`+id+` = $1`, string(waiting), orgs, queuedRuns-1, queueOrgs)
		require.NoError(b, err)
	}
	for _, statement := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		_, err = conn.Exec(b.Context(), statement)
		require.NoError(b, err)
	}
}
