package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// aPolicy is a policy that says something about everything.
func aPolicy(scope product.PolicyScope) product.Policy {
	return product.Policy{
		Scope:            scope,
		Agents:           []string{"acme/*", "globex/reviewer"},
		MaxResources:     product.Resources{CPUMillis: 4000, MemoryMiB: 4096, DiskMiB: 1024},
		DefaultResources: product.Resources{CPUMillis: 500, MemoryMiB: 512, DiskMiB: 256},
		MaxRun:           time.Hour, MaxQueue: 30 * time.Minute, DefaultRun: time.Minute, DefaultQueue: 2 * time.Minute,
		Tier: product.TierSandboxed, Tools: []string{"search/*"}, Models: []string{"small-*"}, Secrets: []string{"TOKEN"}, SecretFiles: []string{"KEY"},
		Egress: []string{"*.example.com:443"},
		Modes:  []product.Mode{product.ModeAsync}, ApprovalAbove: money.Of(5_000_000, "USD"), ApprovalAgents: []string{"acme/writer"},
		KeepInput: time.Hour, KeepOutput: 2 * time.Hour, KeepLog: 3 * time.Hour, Warm: 3,
		UpdatedBy: actor.ID, UpdatedAt: start,
	}
}

// setPolicy stores a policy and returns it as it comes back.
func setPolicy(t *testing.T, s Stores, p product.Policy) product.Policy {
	t.Helper()
	require.NoError(t, s.Control.SetPolicy(t.Context(), actor, p))
	p.UpdatedAt = stored(p.UpdatedAt)
	return p
}

func policyOfOrganization(org ids.Org) product.PolicyScope {
	return product.PolicyScope{Kind: product.ScopeOrganization, OrgID: org}
}

var policyTests = []testCase{
	{"everything that a policy says comes back", func(t *testing.T, s Stores) {
		want := setPolicy(t, s, aPolicy(policyOfOrganization("org_1")))
		got, err := s.Control.Policy(t.Context(), want.Scope)
		require.NoError(t, err)
		requireSame(t, want, got)
	}},
	{"no list is another thing than an empty one", func(t *testing.T, s Stores) {
		for _, lists := range []func(*product.Policy){
			func(*product.Policy) {},
			func(p *product.Policy) {
				p.Agents, p.Tools, p.Models, p.Secrets, p.SecretFiles = []string{}, []string{}, []string{}, []string{}, []string{}
				p.Egress, p.ApprovalAgents = []string{}, []string{}
				p.Modes = []product.Mode{}
			},
		} {
			p := product.Policy{Scope: policyOfOrganization("org_1"), UpdatedBy: actor.ID, UpdatedAt: start}
			lists(&p)
			want := setPolicy(t, s, p)
			got, err := s.Control.Policy(t.Context(), p.Scope)
			require.NoError(t, err)
			requireSame(t, want, got) // cmp tells nil from empty
		}
	}},
	{"they are set, changed and removed, with an entry of the audit log", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		scope := policyOfOrganization(org.ID)
		p := product.Policy{Scope: scope, Tools: []string{}, UpdatedBy: actor.ID, UpdatedAt: start}
		setPolicy(t, s, p)
		p.Tools, p.MaxRun = []string{"search"}, time.Second
		changed := setPolicy(t, s, p)
		got, err := s.Control.Policy(t.Context(), scope)
		require.NoError(t, err)
		requireSame(t, changed, got)

		require.NoError(t, s.Control.DeletePolicy(t.Context(), actor, scope, start))
		requireFault(t, s.Control.DeletePolicy(t.Context(), actor, scope, start), fault.NotFound, "policy_not_found")
		_, err = s.Control.Policy(t.Context(), scope)
		requireFault(t, err, fault.NotFound, "policy_not_found")
		const first, second = `{"tools":[]}`, `{"tools":["search"],"max_run_ns":1000000000}`
		requireAudit(t, s, org.ID, "policy:organization",
			entry{"policy.set", "", first}, entry{"policy.set", first, second}, entry{"policy.delete", second, ""})
	}},
	{"those of the platform are in its own audit log", func(t *testing.T, s Stores) {
		setPolicy(t, s, product.Policy{Scope: product.PolicyScope{Kind: product.ScopePlatform}, UpdatedAt: start})
		requireAudit(t, s, "", "policy:platform", entry{"policy.set", "", `{}`})
	}},
	{"they are listed, those of others are not", func(t *testing.T, s Stores) {
		want := setOfEach(t, s, "org_1", "team_1", "agt_1")
		setOfEach(t, s, "org_2", "team_2", "agt_1")
		got, err := s.Control.Policies(t.Context(), "org_1")
		require.NoError(t, err)
		requireSame(t, want[1:], got)
		got, err = s.Control.Policies(t.Context(), "")
		require.NoError(t, err)
		requireSame(t, want[:1], got)
		got, err = s.Control.Policies(t.Context(), "org_3")
		require.NoError(t, err)
		require.Empty(t, got)
	}},
	{"those that decide about a run come in order", func(t *testing.T, s Stores) {
		all := setOfEach(t, s, "org_1", "team_1", "agt_1")
		setOfEach(t, s, "org_2", "team_2", "agt_1")
		for _, tt := range []struct {
			team  ids.Team
			agent ids.Agent
			want  []product.Policy
		}{
			{"team_1", "agt_1", all},
			{"", "agt_1", []product.Policy{all[0], all[1], all[3]}},
			{"team_2", "agt_2", all[:2]}, // the team of another organization
		} {
			got, err := s.Control.PoliciesFor(t.Context(), "org_1", tt.team, tt.agent)
			require.NoError(t, err)
			requireSame(t, tt.want, got)
		}
	}},
	{"that of a team goes with it", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		team, err := marketplace.NewTeam(org.ID, "research", start)
		require.NoError(t, err)
		require.NoError(t, s.Marketplace.CreateTeam(t.Context(), actor, team))
		all := setOfEach(t, s, org.ID, team.ID, "agt_1")
		require.NoError(t, s.Marketplace.DeleteTeam(t.Context(), actor, org.ID, team.ID, start))
		got, err := s.Control.PoliciesFor(t.Context(), org.ID, team.ID, "agt_1")
		require.NoError(t, err)
		requireSame(t, []product.Policy{all[0], all[1], all[3]}, got)
	}},
	{"of many at once one stays", func(t *testing.T, s Stores) {
		scope := policyOfOrganization("org_1")
		errs := make([]error, 12)
		together(len(errs), func(i int) {
			errs[i] = s.Control.SetPolicy(t.Context(), actor, product.Policy{Scope: scope, MaxRun: time.Duration(i + 1), UpdatedAt: start})
		})
		require.Equal(t, tally{passed: len(errs)}, count("", errs))
		list, err := s.Control.Policies(t.Context(), "org_1")
		require.NoError(t, err)
		require.Len(t, list, 1)
	}},
}

// setOfEach sets a policy of the platform, of an organization, of a team of it and
// for an agent.
func setOfEach(t *testing.T, s Stores, org ids.Org, team ids.Team, agent ids.Agent) []product.Policy {
	t.Helper()
	var list []product.Policy
	for _, scope := range []product.PolicyScope{
		{Kind: product.ScopePlatform}, policyOfOrganization(org),
		{Kind: product.ScopeTeam, OrgID: org, ID: string(team)}, {Kind: product.ScopeAgent, OrgID: org, ID: string(agent)},
	} {
		list = append(list, setPolicy(t, s, product.Policy{Scope: scope, MaxRun: time.Minute, UpdatedBy: actor.ID, UpdatedAt: start}))
	}
	return list
}

// fillPolicies is Fill for policies.
func fillPolicies(t *testing.T, s Stores, org marketplace.Organization) {
	t.Helper()
	list := setOfEach(t, s, org.ID, "team_1", "agt_1")
	setPolicy(t, s, list[1])
	_, err := s.Control.Policy(t.Context(), list[2].Scope)
	require.NoError(t, err)
	_, err = s.Control.Policies(t.Context(), org.ID)
	require.NoError(t, err)
	_, err = s.Control.PoliciesFor(t.Context(), org.ID, "team_1", "agt_1")
	require.NoError(t, err)
	require.NoError(t, s.Control.DeletePolicy(t.Context(), actor, list[2].Scope, start))
	fillDoctor(t, s)
}
