package product

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/money"
)

func TestPermissionsAreAllowedByEveryPolicy(t *testing.T) {
	manifest := func(m *agentruntime.Manifest) {
		m.Tools = []string{"search/web", "mail"}
		m.Models = []string{"small-1", "large-1"}
		m.Secrets, m.SecretFiles = []string{"TOKEN", "KEY"}, []string{"KEY"}
		m.Egress = []string{"api.example.com:443", "*.example.org"}
	}
	for _, tt := range []struct {
		name     string
		policies []Policy
		pointers []string
	}{
		{"no policy", nil, nil},
		{"policies that say nothing", policies(Policy{}, Policy{}, Policy{}, Policy{}), nil},
		{"all by name", []Policy{{Tools: []string{"mail", "search/web"}, Secrets: []string{"KEY", "TOKEN"}, Egress: []string{"api.example.com:443", "*.example.org"}}}, nil},
		{"all by a wider entry", []Policy{{Tools: []string{"search/*", "m*"}, Egress: []string{"*.example.com", "*.org"}}}, nil},
		{"models by name and by a wider entry", []Policy{{Models: []string{"small-*", "large-1"}}}, nil},
		{"another model", []Policy{{Models: []string{"small-*"}}}, []string{"/manifest/models/1"}},
		{"every tool", []Policy{{Tools: []string{"*"}}}, nil},
		{"none", []Policy{{Tools: []string{}, Secrets: []string{}, Egress: []string{}}},
			[]string{"/manifest/tools/0", "/manifest/tools/1", "/manifest/secrets/0", "/manifest/secrets/1", "/manifest/egress/0", "/manifest/egress/1"}},
		{"lists intersect", policies(Policy{Tools: []string{"mail"}}, Policy{Tools: []string{"search/*"}}, Policy{}, Policy{}),
			[]string{"/manifest/tools/0", "/manifest/tools/1"}},
		{"a longer name is another tool", []Policy{{Tools: []string{"search/w", "mail"}}}, []string{"/manifest/tools/0"}},
		{"a secret has no prefix", []Policy{{Secrets: []string{"TOK*", "KEY"}}}, []string{"/manifest/secrets/0"}},
		{"a secret is used and not read", []Policy{{Secrets: []string{"TOKEN", "KEY"}, SecretFiles: []string{}}}, []string{"/manifest/secret_files/0"}},
		{"another port", []Policy{{Egress: []string{"api.example.com:80", "*.example.org"}}}, []string{"/manifest/egress/0"}},
		{"a host is not all below it", []Policy{{Egress: []string{"api.example.com", "example.org"}}}, []string{"/manifest/egress/1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := aQuestion()
			q.Version, q.Policies = aVersion(manifest), tt.policies
			plan, err := Resolve(q)
			if tt.pointers != nil {
				require.Equal(t, tt.pointers, pointersOf(err))
				return
			}
			require.NoError(t, err)
			m := q.Version.Manifest
			require.Equal(t, [][]string{m.Tools, m.Models, m.Secrets, m.SecretFiles, m.Egress}, [][]string{plan.Tools, plan.Models, plan.Secrets, plan.SecretFiles, plan.Egress})
		})
	}
	lacking := aQuestion()
	lacking.Version, lacking.MissingSecrets = aVersion(manifest), []string{"KEY"}
	_, err := Resolve(lacking)
	require.True(t, fault.Is(err, fault.Invalid))
	require.Equal(t, []string{"/manifest/secrets/1"}, pointersOf(err))
	q := aQuestion()
	q.Version, q.Policies = aVersion(manifest), policies(Policy{Tools: []string{"*"}}, Policy{}, Policy{Tools: []string{"*"}}, Policy{})
	plan, err := Resolve(q)
	require.NoError(t, err)
	require.Equal(t, Source{"tools", RuleManifest, "allowed by platform_policy, team_policy"}, plan.SourceOf("tools"))
}

func TestAgentsThatMayRun(t *testing.T) {
	for _, tt := range []struct {
		lists   [][]string // of each policy
		allowed bool
	}{
		{[][]string{nil}, true},
		{[][]string{{}}, false},
		{[][]string{{"acme/reviewer"}}, true},
		{[][]string{{"acme/*"}}, true},
		{[][]string{{"acme/review", "acm/*", "acme/reviewer2", "globex/reviewer"}}, false},
		{[][]string{{"acme/*"}, nil, {"globex/*", "acme/reviewer"}}, true},
		{[][]string{{"acme/*"}, {"globex/*"}}, false},
	} {
		q := aQuestion()
		for _, list := range tt.lists {
			q.Policies = append(q.Policies, Policy{Scope: PolicyScope{Kind: ScopeOrganization}, Agents: list})
		}
		_, err := Resolve(q)
		if tt.allowed {
			require.NoError(t, err, "%q", tt.lists)
			continue
		}
		require.Equal(t, []string{"the policy of the organization does not allow acme/reviewer"}, denials(t, err, "/agent"), "%q", tt.lists)
	}
}

func TestTier(t *testing.T) {
	q := aQuestion()
	q.Policies = policies(Policy{}, Policy{Tier: TierStandard}, Policy{Tier: TierSandboxed}, Policy{Tier: TierStandard})
	_, err := Resolve(q)
	require.Equal(t, []string{"the policy of the team asks for the sandboxed tier, and this platform has no sandboxed tier"}, denials(t, err, "/tier"))

	q.Limits.Sandboxed = true
	plan, err := Resolve(q)
	require.NoError(t, err)
	require.Equal(t, TierSandboxed, plan.Tier)
	require.Equal(t, RuleTeamPolicy, plan.SourceOf("tier").Rule)

	q.Policies = nil
	plan, err = Resolve(q)
	require.NoError(t, err)
	require.Equal(t, TierStandard, plan.Tier, "there is one, and nobody asks for it")
}

func TestMode(t *testing.T) {
	for _, tt := range []struct {
		mode    Mode
		lists   [][]Mode
		want    Mode
		refused bool
	}{
		{"", nil, ModeAsync, false},
		{ModeSync, nil, ModeSync, false},
		{ModeSync, [][]Mode{{ModeAsync, ModeSync}, nil}, ModeSync, false},
		{"", [][]Mode{{ModeSync}}, "", true},
		{ModeSync, [][]Mode{{ModeSync}, {ModeAsync}}, "", true},
		{ModeAsync, [][]Mode{{}}, "", true},
	} {
		q := aQuestion()
		q.Request.Mode = tt.mode
		for _, list := range tt.lists {
			q.Policies = append(q.Policies, Policy{Scope: PolicyScope{Kind: ScopeTeam}, Modes: list})
		}
		plan, err := Resolve(q)
		if tt.refused {
			require.Len(t, denials(t, err, "/mode"), 1)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, tt.want, plan.Mode)
	}
}

func TestApproval(t *testing.T) {
	above := func(micros int64, currency string) Policy { return Policy{ApprovalAbove: money.Of(micros, currency)} }
	agents := func(entries ...string) Policy { return Policy{ApprovalAgents: entries} }
	for _, tt := range []struct {
		name     string
		budget   money.Amount
		policies []Policy
		want     string
		rule     string
	}{
		{"no policy", money.Of(5, "USD"), nil, "", RuleDefault},
		{"as much as is free to spend", money.Of(5, "USD"), policies(above(5, "USD"), Policy{}, Policy{}, Policy{}), "", RuleDefault},
		{"more", money.Of(6_000_000, "USD"), policies(Policy{}, above(5_000_000, "USD"), Policy{}, Policy{}),
			"the policy of the organization asks for an approval above 5.000000 USD, and the run may cost 6.000000 USD", RuleOrganizationPolicy},
		{"everything that costs", money.Of(1, "USD"), policies(above(0, "USD"), Policy{}, Policy{}, Policy{}),
			"the policy of the platform asks for an approval above 0.000000 USD, and the run may cost 0.000001 USD", RulePlatformPolicy},
		{"free", money.Amount{}, policies(above(0, "USD"), Policy{}, Policy{}, Policy{}), "", RuleDefault},
		{"another currency", money.Of(1, "EUR"), policies(Policy{}, Policy{}, Policy{}, above(1_000_000, "USD")),
			"the organization's policy for this agent asks for an approval above 1.000000 USD, and the run may cost 0.000001 EUR: another currency counts as more", RuleAgentPolicy},
		{"other agents", money.Amount{}, policies(agents("globex/*", "acme/writer"), Policy{}, Policy{}, Policy{}), "", RuleDefault},
		{"this agent", money.Amount{}, policies(Policy{}, Policy{}, agents("acme/reviewer"), Policy{}),
			"the policy of the team asks for an approval of each run of acme/reviewer", RuleTeamPolicy},
		{"all reasons", money.Of(2_000_000, "USD"), policies(agents("acme/*"), above(1_000_000, "USD"), Policy{}, Policy{}),
			"the policy of the platform asks for an approval of each run of acme/reviewer; " +
				"the policy of the organization asks for an approval above 1.000000 USD, and the run may cost 2.000000 USD", RulePlatformPolicy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := aQuestion()
			q.Right.Budget, q.Policies = tt.budget, tt.policies
			plan, err := Resolve(q)
			require.NoError(t, err)
			require.Equal(t, tt.want, plan.Approval)
			require.Equal(t, tt.rule, plan.SourceOf("approval").Rule)
		})
	}
}
