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
		fillOrganization(t, s, n, anOrganization(t, s, fmt.Sprint("org-", i)))
	}
}

func fillOrganization(t *testing.T, s Stores, n int, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	_, err := s.Marketplace.OrganizationByName(ctx, org.Name)
	require.NoError(t, err)
	_, err = s.Marketplace.Organization(ctx, org.ID)
	require.NoError(t, err)
	key, _ := marketplace.NewAPIKey(org.ID, "key", marketplace.AllScopes(), start)
	require.NoError(t, s.Marketplace.CreateAPIKey(ctx, key))
	_, err = s.Marketplace.APIKeyByPrefix(ctx, key.Prefix)
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.TouchAPIKey(ctx, key.ID, start))

	w := world{Stores: s, org: org}
	for i := range n {
		w.agent, w.version = publish(t, s, org, fmt.Sprint("agent-", i), "1.0.0", start)
		grant(t, s, org, w.agent)
	}
	_, err = s.Marketplace.EntitlementFor(ctx, org.ID, w.agent.ID)
	require.NoError(t, err)
	_, err = s.Agents.AgentByName(ctx, w.agent.Publisher, w.agent.Name)
	require.NoError(t, err)
	for _, q := range []product.AgentQuery{{Limit: 10}, {Before: w.agent.ID, Limit: 10}, {Text: "x", Limit: 10}} {
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
