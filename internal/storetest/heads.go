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

// headTests are about what is read of many agents at once, for lists.
var headTests = []testCase{
	{"agents are found by identifier", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		first, _ := publish(t, s, org, "first", "1.0.0", start)
		second, _ := publish(t, s, org, "second", "1.0.0", start)
		publish(t, s, org, "third", "1.0.0", start)
		got, err := s.Names.AgentsByID(t.Context(), []ids.Agent{first.ID, "agt_none", second.ID, first.ID})
		require.NoError(t, err)
		requireSame(t, map[ids.Agent]product.Agent{first.ID: first, second.ID: second}, got)
		got, err = s.Names.AgentsByID(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, got)
	}},
	{"what channels point at is what Resolve finds", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		var asked []product.ChannelName
		for i, set := range []map[string]string{nil, {"stable": "1.0.0"}, {"beta": "2.0.0-rc.1"}, {"stable": "1.0.0", "beta": "1.1.0", "alpha": "1.0.0"}} {
			agent, _ := publish(t, s, org, fmt.Sprint("agent-", i), "1.0.0", start)
			publish(t, s, org, agent.Name, "1.1.0", start)
			publish(t, s, org, agent.Name, "2.0.0-rc.1", start)
			for name, number := range set {
				_, err := s.Channels.SetChannel(t.Context(), actor, agent.ID, name, number, start)
				require.NoError(t, err)
			}
			asked = append(asked, product.ChannelName{Agent: agent.ID, Name: "stable"}, product.ChannelName{Agent: agent.ID, Name: "beta"})
		}
		preview, _ := draft(t, org, "preview", "1.0.0", "", start)
		preview, err := s.Names.EnsureAgent(t.Context(), actor, preview)
		require.NoError(t, err)
		asked = append(asked, product.ChannelName{Agent: preview.ID, Name: "stable"}, product.ChannelName{Agent: "agt_none", Name: "stable"})
		want := map[product.ChannelName]product.Version{}
		for _, name := range asked {
			version, err := s.Channels.Resolve(t.Context(), name.Agent, name.Name)
			if err == nil {
				want[name] = version
			}
		}
		require.Len(t, want, 6)
		got, err := s.Channels.Heads(t.Context(), asked)
		require.NoError(t, err)
		requireSame(t, want, got)
		one := asked[7] // beta of an agent whose stable nobody asks for
		got, err = s.Channels.Heads(t.Context(), []product.ChannelName{one, asked[0]})
		require.NoError(t, err)
		requireSame(t, map[product.ChannelName]product.Version{one: want[one], asked[0]: want[asked[0]]}, got)
		got, err = s.Channels.Heads(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, got)
	}},
	{"prices in effect are those of claims", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		first := setPrice(t, s, aPrice(m.agent, 1, start))
		second := setPrice(t, s, aPrice(m.agent, 2, after(time.Hour)))
		other := m.another(t, "other")
		late := setPrice(t, s, aPrice(other.agent, 3, after(time.Hour)))
		unpriced := m.another(t, "unpriced")
		agents := []ids.Agent{m.agent.ID, other.agent.ID, unpriced.agent.ID, "agt_none"}
		for at, want := range map[time.Time]map[ids.Agent]marketplace.Price{
			start:                          {m.agent.ID: first},
			after(time.Hour - time.Second): {m.agent.ID: first},
			after(time.Hour):               {m.agent.ID: second, other.agent.ID: late},
			start.Add(-time.Second):        {},
		} {
			got, err := s.Marketplace.PricesOf(t.Context(), agents, at)
			require.NoError(t, err)
			requireSame(t, want, got)
			if claim := m.claim(t, "", at); claim.Price != nil {
				requireSame(t, *claim.Price, got[m.agent.ID])
			}
		}
		got, err := s.Marketplace.PricesOf(t.Context(), nil, start)
		require.NoError(t, err)
		require.Empty(t, got)
	}},
}

// fillHeads reads what lists show of an organization's agents.
func fillHeads(t *testing.T, s Stores, org marketplace.Organization) {
	t.Helper()
	agents, err := s.Agents.AgentsFor(t.Context(), org.ID, product.AgentQuery{Limit: 3, At: start})
	require.NoError(t, err)
	var named []ids.Agent
	var channels []product.ChannelName
	for _, agent := range agents {
		named = append(named, agent.ID)
		channels = append(channels, product.ChannelName{Agent: agent.ID, Name: "stable"}, product.ChannelName{Agent: agent.ID, Name: "beta"})
	}
	_, err = s.Names.AgentsByID(t.Context(), named)
	require.NoError(t, err)
	_, err = s.Channels.Heads(t.Context(), channels)
	require.NoError(t, err)
	_, err = s.Marketplace.PricesOf(t.Context(), named, start)
	require.NoError(t, err)
}
