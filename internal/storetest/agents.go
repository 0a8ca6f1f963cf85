package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var agentTests = []testCase{
	{"the first version makes the agent", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, version := draft(t, org, "reviewer", "1.0.0", "Reviews code", start)
		gotAgent, gotVersion, added, err := s.Agents.AddVersion(t.Context(), actor, agent, version)
		require.NoError(t, err)
		require.True(t, added)
		agent.Summary, agent.Latest = "Reviews code", "1.0.0"
		agent.CreatedAt, agent.UpdatedAt, version.CreatedAt = stored(start), stored(start), stored(start)
		requireSame(t, agent, gotAgent)
		requireSame(t, version, gotVersion)

		gotAgent, err = s.Agents.AgentByName(t.Context(), "acme", "reviewer")
		require.NoError(t, err)
		requireSame(t, agent, gotAgent)
		gotVersion, err = s.Agents.Version(t.Context(), version.ID)
		require.NoError(t, err)
		requireSame(t, version, gotVersion)
		gotVersion, err = s.Agents.VersionByNumber(t.Context(), agent.ID, "1.0.0")
		require.NoError(t, err)
		requireSame(t, version, gotVersion)
	}},
	{"the same content again is a repeat, another one a conflict", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, version := publish(t, s, org, "reviewer", "1.0.0", start)

		again, same := draft(t, org, "reviewer", "1.0.0", version.Manifest.Summary, after(time.Hour))
		gotAgent, gotVersion, added, err := s.Agents.AddVersion(t.Context(), actor, again, same)
		require.NoError(t, err)
		require.False(t, added)
		requireSame(t, agent, gotAgent)
		requireSame(t, version, gotVersion)

		again, other := draft(t, org, "reviewer", "1.0.0", "Reviews more", after(time.Hour))
		_, _, _, err = s.Agents.AddVersion(t.Context(), actor, again, other)
		requireFault(t, err, fault.Conflict, "version_taken")
		same.Image = image("b")
		_, _, _, err = s.Agents.AddVersion(t.Context(), actor, again, same)
		requireFault(t, err, fault.Conflict, "version_taken")
	}},
	{"of many equal first versions one is added", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		var added, failed atomic.Int32
		var agents, versions [20]string
		together(20, func(i int) {
			agent, version := draft(t, org, "reviewer", "1.0.0", "Reviews code", start)
			gotAgent, gotVersion, first, err := s.Agents.AddVersion(t.Context(), actor, agent, version)
			agents[i], versions[i] = string(gotAgent.ID), string(gotVersion.ID)
			if err != nil || gotVersion.AgentID != gotAgent.ID {
				failed.Add(1)
			}
			if first {
				added.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		require.EqualValues(t, 1, added.Load())
		for i := range agents {
			require.Equal(t, agents[0], agents[i])
			require.Equal(t, versions[0], versions[i])
		}
		list, err := s.Agents.Versions(t.Context(), ids.Agent(agents[0]), "", 0)
		require.NoError(t, err)
		require.Len(t, list, 1)
	}},
	{"different versions at once are all added, the newest is latest", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		numbers := []string{"1.0.0", "1.2.0", "1.10.0", "0.9.0", "1.10.0-rc.1", "2.0.0-beta", "1.9.9", "1.1.1"}
		var failed atomic.Int32
		together(len(numbers), func(i int) {
			agent, version := draft(t, org, "reviewer", numbers[i], "summary of "+numbers[i], start)
			if _, _, added, err := s.Agents.AddVersion(t.Context(), actor, agent, version); err != nil || !added {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		agent, err := s.Agents.AgentByName(t.Context(), "acme", "reviewer")
		require.NoError(t, err)
		require.Equal(t, "1.10.0", agent.Latest)
		require.Equal(t, "summary of 1.10.0", agent.Summary)
	}},
	{"latest is the newest release, or the newest pre-release", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		for i, step := range []struct{ number, latest string }{
			{"1.0.0-alpha", "1.0.0-alpha"},
			{"1.0.0-beta.2", "1.0.0-beta.2"},
			{"1.0.0-beta.11", "1.0.0-beta.11"}, // by number, not by text
			{"0.9.0", "0.9.0"},                 // a release, even an older one
			{"1.0.0-rc.1", "0.9.0"},
			{"1.2.0", "1.2.0"},
			{"1.10.0", "1.10.0"},
			{"1.9.0", "1.10.0"}, // a fix for an older line
			{"2.0.0-rc.1", "1.10.0"},
		} {
			at := after(time.Duration(i) * time.Minute)
			agent, _ := publish(t, s, org, "reviewer", step.number, at)
			require.Equal(t, step.latest, agent.Latest, "after %s", step.number)
			require.Equal(t, "summary of "+step.latest, agent.Summary)
			latest, err := s.Agents.VersionByNumber(t.Context(), agent.ID, product.Latest)
			require.NoError(t, err)
			require.Equal(t, step.latest, latest.Number)
			require.Equal(t, latest.CreatedAt, agent.UpdatedAt)
			loaded, err := s.Agents.AgentByName(t.Context(), "acme", "reviewer")
			require.NoError(t, err)
			requireSame(t, agent, loaded)
		}
	}},
	{"versions are listed newest first, by pages", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		var agent product.Agent
		for _, number := range []string{"1.0.0", "1.1.0", "1.0.1", "2.0.0", "1.0.2"} {
			agent, _ = publish(t, s, org, "reviewer", number, start)
		}
		publish(t, s, org, "other", "9.0.0", start)
		var got []string
		var before ids.Version
		for {
			page, err := s.Agents.Versions(t.Context(), agent.ID, before, 2)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			for _, v := range page {
				got = append(got, v.Number)
			}
			before = page[len(page)-1].ID
		}
		require.Equal(t, []string{"1.0.2", "2.0.0", "1.0.1", "1.1.0", "1.0.0"}, got)
	}},
	{"what does not exist is not found", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reviewer", "1.0.0", start)
		_, err := s.Agents.AgentByName(t.Context(), "acme", "nothing")
		requireFault(t, err, fault.NotFound, "agent_not_found")
		_, err = s.Agents.Version(t.Context(), "ver_none")
		requireFault(t, err, fault.NotFound, "version_not_found")
		_, err = s.Agents.VersionByNumber(t.Context(), agent.ID, "3.0.0")
		requireFault(t, err, fault.NotFound, "version_not_found")
		_, err = s.Agents.VersionByNumber(t.Context(), "agt_none", product.Latest)
		requireFault(t, err, fault.NotFound, "version_not_found")
		stranger, version := draft(t, org, "reviewer", "1.0.0", "", start)
		stranger.OrgID, stranger.Publisher = "org_none", "stranger"
		_, _, _, err = s.Agents.AddVersion(t.Context(), actor, stranger, version)
		requireFault(t, err, fault.NotFound, "")
	}},
	{"a name belongs to one organization", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		publish(t, s, org, "reviewer", "1.0.0", start)
		agent, version := draft(t, other, "reviewer", "2.0.0", "", start)
		agent.Publisher = org.Name
		_, _, _, err := s.Agents.AddVersion(t.Context(), actor, agent, version)
		requireFault(t, err, fault.Conflict, "agent_taken")
	}},
	{"an organization sees the agents it has an entitlement for", func(t *testing.T, s Stores) {
		publisher, buyer := anOrganization(t, s, "acme"), anOrganization(t, s, "buyer")
		var names []string
		for _, name := range []string{"one", "two", "three", "four"} {
			agent, _ := publish(t, s, publisher, name, "1.0.0", start)
			if name == "two" {
				continue
			}
			g := aGrant(t, s, buyer, agent)
			switch name {
			case "three": // granted twice, and the agent is listed once
				require.NoError(t, s.Marketplace.RevokeGrant(t.Context(), actor, agent.ID, g.ID, after(time.Second)))
				aGrant(t, s, buyer, agent)
			case "four":
				require.NoError(t, s.Marketplace.RevokeGrant(t.Context(), actor, agent.ID, g.ID, after(time.Minute)))
			}
			own(t, s, agent)
			names = append([]string{name}, names...)
		}
		list, err := s.Agents.AgentsFor(t.Context(), buyer.ID, product.AgentQuery{At: after(time.Minute)})
		require.NoError(t, err)
		require.Equal(t, names[1:], agentNames(list), "without the one that was taken back")
		list, err = s.Agents.AgentsFor(t.Context(), buyer.ID, product.AgentQuery{At: after(time.Minute - time.Microsecond)})
		require.NoError(t, err)
		require.Equal(t, names, agentNames(list), "newest first")
		_, err = s.Agents.AgentsFor(t.Context(), buyer.ID, product.AgentQuery{})
		require.ErrorContains(t, err, "for a time")
		loaded, err := s.Agents.AgentByName(t.Context(), "acme", "four")
		require.NoError(t, err)
		requireSame(t, loaded, list[0])

		page, err := s.Agents.AgentsFor(t.Context(), buyer.ID, product.AgentQuery{Before: list[0].ID, Limit: 1, At: start})
		require.NoError(t, err)
		require.Equal(t, names[1:2], agentNames(page))
		nothing, err := s.Agents.AgentsFor(t.Context(), "org_none", product.AgentQuery{At: start})
		require.NoError(t, err)
		require.Empty(t, nothing)
	}},
	{"search finds parts of name and summary in any case", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		for name, summary := range map[string]string{
			"code-reviewer": "Reviews Go and SQL", "painter": "Malt schöne BILDER: 100% Öl_farbe", "other": "Wow! [a-z]* \\ 'quote'",
		} {
			agent, version := draft(t, org, name, "1.0.0", summary, start)
			agent, _, _, err := s.Agents.AddVersion(t.Context(), actor, agent, version)
			require.NoError(t, err)
			own(t, s, agent)
		}
		for text, want := range map[string][]string{
			"REVIEW": {"code-reviewer"}, "-rev": {"code-reviewer"}, "sql": {"code-reviewer"}, "bilder": {"painter"},
			"SCHÖNE": {"painter"}, "öl_F": {"painter"}, "0%": {"painter"}, "w!": {"other"}, `\`: {"other"}, "'QUOTE'": {"other"},
			"%": {"painter"}, "_": {"painter"}, "!": {"other"}, "[A-Z]*": {"other"}, "o_her": nil, "a%e": nil, "nothing": nil,
		} {
			list, err := s.Agents.AgentsFor(t.Context(), org.ID, product.AgentQuery{Text: text, At: start})
			require.NoError(t, err)
			require.Equal(t, want, agentNames(list), "search %q", text)
		}
	}},
}

func agentNames(agents []product.Agent) []string {
	var names []string
	for _, a := range agents {
		names = append(names, a.Name)
	}
	return names
}
