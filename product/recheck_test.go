package product

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/money"
)

func TestRecheckOfAPlan(t *testing.T) {
	q := aQuestion()
	q.Version = aVersion(func(m *agentruntime.Manifest) {
		m.Models = []string{"small-1"}
		m.Tools, m.Secrets, m.Egress = []string{"search/web", "mail"}, []string{"TOKEN"}, []string{"api.example.com"}
		m.SecretFiles = []string{"TOKEN"}
	})
	q.Request = Request{Mode: ModeSync, Resources: Resources{CPUMillis: 400}}
	q.Policies = []Policy{{Scope: PolicyScope{Kind: ScopePlatform}, DefaultResources: Resources{MemoryMiB: 100}}}
	planned, err := Resolve(q)
	require.NoError(t, err)
	require.Equal(t, Resources{CPUMillis: 400, MemoryMiB: 100, DiskMiB: 64}, planned.Resources)
	isolated := planned
	isolated.Tier = TierSandboxed
	before, err := Resolve(q)
	require.NoError(t, err)

	for _, tt := range []struct {
		name   string
		plan   Plan
		policy Policy
		want   string // empty: it is allowed
	}{
		{"nothing is said", planned, Policy{}, ""},
		{"all of it is allowed", planned, Policy{
			Agents: []string{"acme/*"}, MaxResources: planned.Resources, Modes: []Mode{ModeSync}, Tier: TierStandard,
			Tools: []string{"*"}, Secrets: []string{"TOKEN"}, Egress: []string{"*.example.com"},
		}, ""},
		{"less for who names nothing", planned, Policy{DefaultResources: Resources{CPUMillis: 1}, DefaultRun: 1, DefaultQueue: 1}, ""},
		{"shorter", planned, Policy{MaxRun: time.Second, MaxQueue: time.Second, KeepLog: time.Hour}, ""},
		{"an approval", planned, Policy{ApprovalAgents: []string{"acme/*"}, ApprovalAbove: money.Of(0, "USD")}, ""},
		{"in its sandbox", isolated, Policy{Tier: TierSandboxed}, ""},
		{"the agent", planned, Policy{Agents: []string{}}, "the policy of the organization does not allow acme/reviewer"},
		{"resources", planned, Policy{MaxResources: Resources{MemoryMiB: 99}}, "the policy of the organization allows 99 memory_mib, the run asks for 100"},
		{"a tool", planned, Policy{Tools: []string{"search/*"}}, "the policy of the organization does not allow mail in tools"},
		{"a model", planned, Policy{Models: []string{}}, "the policy of the organization does not allow small-1 in models"},
		{"a secret", planned, Policy{Secrets: []string{}}, "the policy of the organization does not allow TOKEN in secrets"},
		{"a secret to read", planned, Policy{SecretFiles: []string{}}, "the policy of the organization does not allow TOKEN in secret_files"},
		{"a host", planned, Policy{Egress: []string{}}, "the policy of the organization does not allow api.example.com in egress"},
		{"the mode", planned, Policy{Modes: []Mode{ModeAsync}}, "the policy of the organization does not allow the mode sync"},
		{"the tier", planned, Policy{Tier: TierSandboxed}, "it asks for the sandboxed tier, and the run was planned for the standard one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.policy.Scope = PolicyScope{Kind: ScopeOrganization}
			err := tt.plan.Recheck(anAgent, []Policy{{Scope: PolicyScope{Kind: ScopePlatform}}, tt.policy})
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
			require.Equal(t, "policy_denied", fault.From(err).Code)
			require.Equal(t, "a policy does not allow the run: "+tt.want, fault.From(err).Message)
		})
	}
	require.Empty(t, cmp.Diff(before, planned), "the plan stays as it is")
}
