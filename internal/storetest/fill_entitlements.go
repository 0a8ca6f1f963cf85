package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// fillEntitlements uses every method of prices, claims, entitlements,
// installations and grants, for n agents that an organization publishes and has.
func fillEntitlements(t *testing.T, s Stores, n int, org marketplace.Organization) {
	t.Helper()
	for i := range n {
		agent, _ := publish(t, s, org, fmt.Sprint("right-", i), "1.0.0", start)
		fillEntitlement(t, market{Stores: s, publisher: org, buyer: org, agent: agent})
	}
}

func fillEntitlement(t *testing.T, m market) {
	t.Helper()
	ctx, s, org, agent := t.Context(), m.Stores, m.publisher, m.agent
	price := setPrice(t, s, aPrice(agent, 1, start))
	announced := setPrice(t, s, aPrice(agent, 2, after(time.Hour)))
	require.NoError(t, s.Marketplace.CancelPrice(ctx, actor, agent.ID, announced.ID, start))
	_, err := s.Marketplace.Prices(ctx, agent.ID)
	require.NoError(t, err)

	team := m.team(t, org, "team-"+agent.Name)
	user := m.member(t, org, agent.Name+"."+org.Name, team)
	g := m.grant(t, marketplace.AccessRun, func(g *marketplace.Grant) { g.TeamID, g.UserID, g.ExpiresAt = team.ID, user, after(time.Hour) })
	m.grant(t, marketplace.AccessView, nil)
	requireFault(t, s.Marketplace.CreateGrant(ctx, actor, m.aGrant(marketplace.AccessView)), fault.Conflict, "grant_exists")
	for _, before := range []ids.Grant{"", g.ID} {
		_, err = s.Marketplace.Grants(ctx, agent.ID, before, 10)
		require.NoError(t, err)
	}

	m.right(t, marketplace.SourceOwnership, nil)
	m.right(t, marketplace.SourceOwnership, nil)
	right := m.right(t, marketplace.SourceSubscription, func(e *marketplace.Entitlement) { e.PriceID, e.Renews = price.ID, true })
	_, err = s.Marketplace.UpdateEntitlement(ctx, actor, org.ID, right.ID, start, func(e *marketplace.Entitlement) error {
		e.Versions = "1"
		return nil
	})
	require.NoError(t, err)
	for _, before := range []ids.Entitlement{"", right.ID} {
		_, err = s.Marketplace.Entitlements(ctx, org.ID, before, 10)
		require.NoError(t, err)
	}

	for _, channel := range []string{"stable", "beta"} {
		m.install(t, start, func(i *marketplace.Installation) error { return i.Follow(channel, start) })
	}
	_, err = s.Marketplace.Installation(ctx, org.ID, agent.ID)
	require.NoError(t, err)
	for _, before := range []ids.Agent{"", agent.ID} {
		_, err = s.Marketplace.Installations(ctx, org.ID, before, 10)
		require.NoError(t, err)
	}

	m.claim(t, user, start)
	m.claimOf(t, marketplace.ClaimQuery{OrgID: org.ID, UserID: user, AgentID: agent.ID, PriceID: price.ID, At: start})
	require.NoError(t, s.Marketplace.RevokeGrant(ctx, actor, agent.ID, g.ID, start))
}
