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

var agentNameTests = []testCase{
	{"an agent is there before its first version", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		agent, version := draft(t, org, "reviewer", "1.0.0", "Reviews code", start)
		got, err := s.Names.EnsureAgent(t.Context(), actor, agent)
		require.NoError(t, err)
		agent.CreatedAt, agent.UpdatedAt = stored(start), stored(start)
		requireSame(t, agent, got)
		again, _ := draft(t, org, "reviewer", "1.0.0", "", after(time.Hour))
		got, err = s.Names.EnsureAgent(t.Context(), actor, again)
		require.NoError(t, err)
		requireSame(t, agent, got)
		_, err = s.Agents.VersionByNumber(t.Context(), agent.ID, product.Latest)
		requireFault(t, err, fault.NotFound, "version_not_found")
		_, err = s.Channels.Resolve(t.Context(), agent.ID, product.ChannelStable)
		requireFault(t, err, fault.NotFound, "version_not_found")
		requireAudit(t, s, org.ID, string(agent.ID), entry{"agent.create", "", `{"name":"acme/reviewer"}`})

		first, stored1, added, err := s.Agents.AddVersion(t.Context(), actor, again, version)
		require.NoError(t, err)
		require.True(t, added)
		require.Equal(t, agent.ID, first.ID)
		require.Equal(t, agent.ID, stored1.AgentID)
		require.Equal(t, "1.0.0", first.Latest)
		requireAudit(t, s, org.ID, string(stored1.ID),
			entry{"version.publish", "", `{"agent":"acme/reviewer","number":"1.0.0","image":"` + version.Image + `"}`})

		again.OrgID = other.ID
		_, err = s.Names.EnsureAgent(t.Context(), actor, again)
		requireFault(t, err, fault.Conflict, "agent_taken")
		stranger, _ := draft(t, org, "reviewer", "1.0.0", "", start)
		stranger.OrgID, stranger.Publisher = "org_none", "stranger"
		_, err = s.Names.EnsureAgent(t.Context(), actor, stranger)
		requireFault(t, err, fault.NotFound, "")
	}},
	{"of many at once one makes it", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		var agents [20]ids.Agent
		var failed atomic.Int32
		together(len(agents), func(i int) {
			agent, _ := draft(t, org, "reviewer", "1.0.0", "", start)
			got, err := s.Names.EnsureAgent(t.Context(), actor, agent)
			if agents[i] = got.ID; err != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		for _, id := range agents {
			require.Equal(t, agents[0], id)
		}
		require.Len(t, actions(t, s, org.ID, auditOf(string(agents[0]))), 1)
	}},
	{"a changelog is kept, and is no part of what runs", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, version := draft(t, org, "reviewer", "1.0.0", "", start)
		version, err := version.WithChangelog("# First\n\nAll of it is new.")
		require.NoError(t, err)
		_, version, _, err = s.Agents.AddVersion(t.Context(), actor, agent, version)
		require.NoError(t, err)
		got, err := s.Agents.Version(t.Context(), version.ID)
		require.NoError(t, err)
		require.Equal(t, "# First\n\nAll of it is new.", got.Changelog)
		again, other := draft(t, org, "reviewer", "1.0.0", "", start)
		_, got, added, err := s.Agents.AddVersion(t.Context(), actor, again, other)
		require.NoError(t, err)
		require.False(t, added)
		requireSame(t, version, got)
		require.Len(t, actions(t, s, org.ID, auditOf(string(version.ID))), 1, "a repeat is no change")
	}},
}

var channelTests = []testCase{
	{"a channel points at one version after another", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, first := publish(t, s, org, "reviewer", "1.0.0", start)
		_, second := publish(t, s, org, "reviewer", "2.0.0-rc.1", start)
		set := func(number string, d time.Duration) product.Channel {
			channel, err := s.Channels.SetChannel(t.Context(), actor, agent.ID, "beta", number, after(d))
			require.NoError(t, err)
			return channel
		}
		want := product.Channel{AgentID: agent.ID, Name: "beta", VersionID: first.ID, Version: "1.0.0", UpdatedAt: stored(start)}
		requireSame(t, want, set("1.0.0", 0))
		requireSame(t, want, set("1.0.0", time.Hour)) // no change
		want.VersionID, want.Version, want.UpdatedAt = second.ID, "2.0.0-rc.1", stored(after(2*time.Hour))
		requireSame(t, want, set("2.0.0-rc.1", 2*time.Hour))
		_, err := s.Channels.SetChannel(t.Context(), actor, agent.ID, "alpha", "1.0.0", start)
		require.NoError(t, err)
		channels, err := s.Channels.Channels(t.Context(), agent.ID)
		require.NoError(t, err)
		require.Len(t, channels, 2)
		require.Equal(t, "alpha", channels[0].Name)
		requireSame(t, want, channels[1])

		require.NoError(t, s.Channels.DeleteChannel(t.Context(), actor, agent.ID, "beta", start))
		requireFault(t, s.Channels.DeleteChannel(t.Context(), actor, agent.ID, "beta", start), fault.NotFound, "channel_not_found")
		_, err = s.Channels.Resolve(t.Context(), agent.ID, "beta")
		requireFault(t, err, fault.NotFound, "version_not_found")
		one, two, alpha := `{"name":"beta","version":"1.0.0"}`, `{"name":"beta","version":"2.0.0-rc.1"}`, `{"name":"alpha","version":"1.0.0"}`
		requireAudit(t, s, org.ID, string(agent.ID), entry{"agent.create", "", `{"name":"acme/reviewer"}`},
			entry{"channel.set", "", one}, entry{"channel.set", one, two}, entry{"channel.set", "", alpha},
			entry{"channel.delete", two, ""})
	}},
	{"a version is found by number, by channel, and as the latest", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reviewer", "1.0.0-rc.1", start)
		other, _ := publish(t, s, org, "other", "7.0.0", start)
		resolve := func(want string, names ...string) {
			t.Helper()
			for _, name := range names {
				got, err := s.Channels.Resolve(t.Context(), agent.ID, name)
				require.NoError(t, err, name)
				require.Equal(t, want, got.Number, name)
				require.Equal(t, agent.ID, got.AgentID)
			}
		}
		resolve("1.0.0-rc.1", "1.0.0-rc.1", "latest", "stable") // there is no other
		for _, number := range []string{"1.0.0", "1.1.0", "2.0.0-beta"} {
			publish(t, s, org, "reviewer", number, start)
		}
		resolve("1.1.0", "1.1.0", "latest", "stable")
		for name, number := range map[string]string{"stable": "1.0.0", "beta": "2.0.0-beta"} {
			_, err := s.Channels.SetChannel(t.Context(), actor, agent.ID, name, number, start)
			require.NoError(t, err)
		}
		resolve("1.0.0", "1.0.0", "stable")
		resolve("2.0.0-beta", "beta")
		resolve("1.1.0", "latest")
		require.NoError(t, s.Channels.DeleteChannel(t.Context(), actor, agent.ID, "stable", start))
		resolve("1.1.0", "stable")
		for _, nothing := range []string{"7.0.0", "alpha", "", "Stable", "'"} {
			_, err := s.Channels.Resolve(t.Context(), agent.ID, nothing)
			requireFault(t, err, fault.NotFound, "version_not_found")
		}
		got, err := s.Channels.Resolve(t.Context(), other.ID, "stable")
		require.NoError(t, err)
		require.Equal(t, "7.0.0", got.Number)
	}},
	{"agent and version must exist", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reviewer", "1.0.0", start)
		publish(t, s, org, "other", "2.0.0", start)
		_, err := s.Channels.SetChannel(t.Context(), actor, agent.ID, "beta", "2.0.0", start)
		requireFault(t, err, fault.NotFound, "version_not_found")
		_, err = s.Channels.SetChannel(t.Context(), actor, "agt_none", "beta", "1.0.0", start)
		requireFault(t, err, fault.NotFound, "agent_not_found")
		requireFault(t, s.Channels.DeleteChannel(t.Context(), actor, "agt_none", "beta", start), fault.NotFound, "agent_not_found")
		channels, err := s.Channels.Channels(t.Context(), "agt_none")
		require.NoError(t, err)
		require.Empty(t, channels)
	}},
	{"set by many at once, one of them wins", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reviewer", "1.0.0", start)
		publish(t, s, org, "reviewer", "2.0.0", start)
		var failed atomic.Int32
		together(20, func(i int) {
			if _, err := s.Channels.SetChannel(t.Context(), actor, agent.ID, "beta", []string{"1.0.0", "2.0.0"}[i%2], start); err != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		channels, err := s.Channels.Channels(t.Context(), agent.ID)
		require.NoError(t, err)
		require.Len(t, channels, 1)
	}},
}
