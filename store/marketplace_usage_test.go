package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
)

var nobody = audit.System("test")

// listed publishes n agents, agent-0 first.
func listed(t *testing.T, db *store.DB, n int) []ids.Agent {
	t.Helper()
	org, err := marketplace.NewOrganization("acme", time.Now())
	require.NoError(t, err)
	require.NoError(t, db.Marketplace().CreateOrganization(t.Context(), nobody, org))
	var agents []ids.Agent
	for i := range n {
		agent, err := db.Agents().EnsureAgent(t.Context(), nobody, product.Agent{
			ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: fmt.Sprint("agent-", i),
			CreatedAt: time.Now(), UpdatedAt: time.Now(),
		})
		require.NoError(t, err)
		l, err := marketplace.NewListing(agent.ID, org, agent.Name,
			marketplace.ListingContent{Title: "Agent", Summary: "runs"}, marketplace.VisibilityPublic, time.Now())
		require.NoError(t, err)
		require.NoError(t, l.Submit(nil, false, time.Now()))
		require.NoError(t, db.Marketplace().CreateListing(t.Context(), nobody, l))
		agents = append(agents, agent.ID)
	}
	return agents
}

func mostUsed(t *testing.T, db *store.DB, q marketplace.CatalogQuery) (names []string) {
	t.Helper()
	page, err := db.Marketplace().Search(t.Context(), marketplace.Viewer{}, q, time.Now())
	require.NoError(t, err)
	for _, l := range page.Listings {
		names = append(names, fmt.Sprint(l.Name, " ", l.Runs))
	}
	return names
}

func TestUsageOrdersTheCatalogOnceItIsFolded(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		agents := listed(t, db, 4)
		m := db.Marketplace()
		for i, runs := range []int64{2, 0, 7, 2} {
			require.NoError(t, m.RecordUsage(t.Context(), agents[i], runs, 3*runs))
			require.NoError(t, m.RecordUsage(t.Context(), agents[i], runs, 4*runs))
		}
		average, err := m.AverageRun(t.Context(), agents[2])
		require.NoError(t, err)
		require.Equal(t, 3500*time.Millisecond, average)
		average, err = m.AverageRun(t.Context(), agents[1])
		require.NoError(t, err)
		require.Zero(t, average, "without runs")

		require.Equal(t, []string{"agent-3 0", "agent-2 0", "agent-1 0", "agent-0 0"}, mostUsed(t, db, marketplace.CatalogQuery{}))
		for _, want := range []int{3, 1, 0} {
			folded, err := m.FoldUsage(t.Context(), 3)
			require.NoError(t, err)
			require.Equal(t, want, folded)
		}
		want := []string{"agent-2 14", "agent-3 4", "agent-0 4", "agent-1 0"}
		for _, q := range []marketplace.CatalogQuery{{}, {Sort: marketplace.SortMostUsed}, {Text: "agent"}, {Publisher: "acme"}} {
			require.Equal(t, want, mostUsed(t, db, q), "%+v", q)
		}
		require.Equal(t, []string{"agent-3 4", "agent-2 14", "agent-1 0", "agent-0 4"},
			mostUsed(t, db, marketplace.CatalogQuery{Sort: marketplace.SortNewest}))
	})
}

// An agent may be used before it is listed.
func TestUsageOfWhatIsNotListedIsFolded(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		agents := listed(t, db, 1)
		org, err := db.Marketplace().OrganizationByName(t.Context(), "acme")
		require.NoError(t, err)
		agent, err := db.Agents().EnsureAgent(t.Context(), nobody, product.Agent{
			ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: "acme", Name: "other", CreatedAt: time.Now(), UpdatedAt: time.Now()})
		require.NoError(t, err)
		require.NoError(t, db.Marketplace().RecordUsage(t.Context(), agent.ID, 1, 1))
		require.NoError(t, db.Marketplace().RecordUsage(t.Context(), agents[0], 1, 1))
		folded, err := db.Marketplace().FoldUsage(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, 2, folded)
	})
}

// Runs that are settled while usage is folded are all counted.
func TestNoUsageIsLostWhileItIsFolded(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		agents := listed(t, db, 5)
		m := db.Marketplace()
		const writers, rounds, folders = 8, 20, 3
		errs := make([]error, writers+folders)
		var writing, folding sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for i := range rounds {
					errs[w] = errors.Join(errs[w], m.RecordUsage(t.Context(), agents[(w+i)%len(agents)], 1, 2))
				}
			})
		}
		written := make(chan struct{})
		for f := range folders {
			folding.Go(func() {
				for done := false; !done; {
					select {
					case <-written:
						done = true // and once more
					default:
					}
					_, err := m.FoldUsage(t.Context(), 2)
					errs[writers+f] = errors.Join(errs[writers+f], err)
				}
			})
		}
		writing.Wait()
		close(written)
		folding.Wait()
		require.NoError(t, errors.Join(errs...))
		for folded := 1; folded > 0; {
			var err error
			folded, err = m.FoldUsage(t.Context(), 10)
			require.NoError(t, err)
		}
		for _, agent := range agents {
			l, err := m.Listing(t.Context(), agent)
			require.NoError(t, err)
			require.EqualValues(t, writers*rounds/len(agents), l.Runs)
		}
	})
}

// A settlement that goes on holds nothing up but its own agent.
func TestPostgresFoldSkipsWhatASettlementHolds(t *testing.T) {
	u := storetest.PostgresURL(t)
	db := open(t, store.Config{URL: u, StatementTimeout: 5 * time.Second})
	agents := listed(t, db, 3)
	for _, agent := range agents {
		require.NoError(t, db.Marketplace().RecordUsage(t.Context(), agent, 5, 5))
	}
	rival, err := pgx.Connect(t.Context(), u)
	require.NoError(t, err)
	defer func() { _ = rival.Close(context.Background()) }()
	tx, err := rival.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "UPDATE agent_usage SET runs = runs + 1 WHERE agent_id = $1", string(agents[1]))
	require.NoError(t, err)
	folded, err := db.Marketplace().FoldUsage(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, 2, folded)
	require.NoError(t, tx.Commit(t.Context()))
	folded, err = db.Marketplace().FoldUsage(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, 1, folded)
	require.Equal(t, []string{"agent-1 6", "agent-2 5", "agent-0 5"}, mostUsed(t, db, marketplace.CatalogQuery{}))
}
