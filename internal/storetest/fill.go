package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// Fill uses every method of the stores and leaves rows in every table: n
// organizations, each with n agents and n runs. It is the load for tests that
// look at the database from below, such as that of the query plans.
func Fill(t *testing.T, s Stores, n int) {
	t.Helper()
	for i := range n {
		org := anOrganization(t, s, fmt.Sprint("org-", i))
		fillPeople(t, s, n, org)
		fillOrganization(t, s, n, org)
		fillEntitlements(t, s, n, org)
		fillMoney(t, s, n, org)
		fillHeads(t, s, org)
		fillListings(t, s, n, org)
		fillWebhooks(t, s, org)
		fillSecrets(t, s, n, org)
		if i == 0 {
			fillSlots(t, s, org)
			fillShelf(t, s, org)
		}
	}
}

// fillShelf stores agents that nobody has a right to, so that those which somebody
// has are a part.
func fillShelf(t *testing.T, s Stores, org marketplace.Organization) {
	t.Helper()
	for i := range 200 {
		_, err := s.Names.EnsureAgent(t.Context(), actor, product.Agent{
			ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: fmt.Sprint("shelf-", i), CreatedAt: start, UpdatedAt: start,
		})
		require.NoError(t, err)
	}
}

func fillOrganization(t *testing.T, s Stores, n int, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	w := world{Stores: s, org: org}
	for i := range n {
		w.agent, w.version = publish(t, s, org, fmt.Sprint("agent-", i), "1.0.0", start)
		own(t, s, w.agent)
	}
	_, err := s.Agents.AgentByName(ctx, w.agent.Publisher, w.agent.Name)
	require.NoError(t, err)
	for _, q := range []product.AgentQuery{{Limit: 10, At: start}, {Before: w.agent.ID, Limit: 10, At: start}, {Text: "x", Limit: 10, At: start}} {
		_, err = s.Agents.AgentsFor(ctx, org.ID, q)
		require.NoError(t, err)
	}
	_, err = s.Agents.Version(ctx, w.version.ID)
	require.NoError(t, err)
	for _, number := range []string{"1.0.0", product.Latest} {
		_, err = s.Agents.VersionByNumber(ctx, w.agent.ID, number)
		require.NoError(t, err)
	}
	for _, before := range []ids.Version{"", w.version.ID} {
		_, err = s.Agents.Versions(ctx, w.agent.ID, before, 10)
		require.NoError(t, err)
	}

	w.fillChannels(t)
	w.fillBodies(t)
	w.fillSessions(t)
	w.fillTools(t)
	fillPolicies(t, s, org)
	w.fillSchedules(t)
	w.fillRollouts(t)

	for i := range n {
		w.fillRun(t, &product.IdempotencyKey{Key: fmt.Sprint("key-", i), Fingerprint: "f"})
	}
	for _, q := range []product.RunQuery{
		{Limit: 10}, {Before: "run_z", Limit: 10},
		{Statuses: []product.Status{product.StatusCanceling}, Limit: 10},
		{Statuses: []product.Status{product.StatusCanceling, product.StatusQueued}, Limit: 10},
		{Agent: w.agent.FullName(), Limit: 10}, {Labels: map[string]string{"team": "blue"}, Limit: 10},
		{CreatedAfter: start.Add(-time.Hour), CreatedBefore: after(time.Hour), Limit: 10},
	} {
		_, err = s.Runs.Runs(ctx, org.ID, q)
		require.NoError(t, err)
	}
}

func (w world) fillRun(t *testing.T, key *product.IdempotencyKey) {
	t.Helper()
	ctx := t.Context()
	run, created, err := w.Runs.CreateRun(ctx, w.queued(start), []byte("{}"), key)
	require.NoError(t, err)
	require.True(t, created)
	_, created, err = w.Runs.CreateRun(ctx, w.queued(start), []byte("{}"), key)
	require.NoError(t, err)
	require.False(t, created)
	_, _, err = w.Runs.CreateRun(ctx, w.queued(start), nil, &product.IdempotencyKey{Key: key.Key, Fingerprint: "other"})
	requireFault(t, err, fault.Invalid, "idempotency_key_reused")
	_, err = w.Runs.ClaimDispatch(ctx, after(soon), lease, 10)
	require.NoError(t, err)
	run = w.update(t, run.ID, fillIn)
	require.NoError(t, w.Runs.Dispatched(ctx, run))
	w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.AttemptStarted(2, after(time.Minute))}, nil
	})
	_, err = w.Runs.Input(ctx, run.ID)
	require.NoError(t, err)
	_, err = w.Runs.Events(ctx, run.ID, 0, 10)
	require.NoError(t, err)
}
