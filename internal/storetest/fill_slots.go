package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// fillSlots uses every method of limits and queue, with a crowd whose buyer buys
// from the organization.
func fillSlots(t *testing.T, s Stores, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	m := market{Stores: s, publisher: org, buyer: anOrganization(t, s, "crowd-"+org.Name)}.another(t, "crowded")
	m.list(t, marketplace.VisibilityPublic)
	c := crowd{market: m, scope: product.Scope{Kind: product.ScopeOrganization, ID: string(m.buyer.ID)}}
	team, err := marketplace.NewTeam(c.buyer.ID, "crew", start)
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.CreateTeam(ctx, actor, team))
	ofTeam := func(r *product.Run) { r.TeamID = team.ID }
	for _, scope := range []product.Scope{
		c.scope, product.UserScope(c.buyer.ID, "key_a"), {Kind: product.ScopeTeam, ID: string(team.ID)},
		{Kind: product.ScopeAgent, ID: string(c.agent.ID)}, {Kind: product.ScopePublisher, ID: string(c.publisher.ID)},
		{Kind: product.ScopeQuota, ID: string(c.buyer.ID)},
	} {
		c.limit(t, scope, product.Limit{ConcurrentRuns: 20})
	}
	c.limit(t, c.scope, product.Limit{ConcurrentRuns: 2})
	var runs []product.Run
	for i := range 6 {
		runs = append(runs, c.planned(t, ids.Key(fmt.Sprintf("key_%c", 'a'+i%2)), ofTeam))
		_, err := c.begin(t, runs[i].ID)
		require.NoError(t, err)
	}
	_, err = c.Control.Waiting(ctx, runs[5].ID)
	require.NoError(t, err)
	granted := c.ends(t, runs[0].ID)
	require.Len(t, granted, 1)
	_, err = c.Control.Granted(ctx, after(time.Hour), time.Minute, 10)
	require.NoError(t, err)
	require.NoError(t, c.Control.Told(ctx, granted[0]))
	c.child(t, runs[1].ID)
	_, _, err = c.Control.RepairSlots(ctx, start)
	require.NoError(t, err)
	_, err = c.Reconcile.RunsByID(ctx, granted)
	require.NoError(t, err)
	_, err = c.Reconcile.OpenRuns(ctx, granted[0], start, 10)
	require.NoError(t, err)
	_, err = c.Reconcile.LeakedHolds(ctx, start, 10)
	require.NoError(t, err)
	require.NoError(t, c.Reconcile.Redispatch(ctx, granted[0], start))
	_, err = c.Control.LimitsOf(ctx, c.buyer.ID)
	require.NoError(t, err)
	_, err = c.Control.DeleteLimit(ctx, actor, c.buyer.ID, c.scope, start)
	require.NoError(t, err)
}
