package product

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
)

// policies are one of each kind, in their order.
func policies(platform, organization, team, agent Policy) []Policy {
	list := []Policy{platform, organization, team, agent}
	for i, kind := range []ScopeKind{ScopePlatform, ScopeOrganization, ScopeTeam, ScopeAgent} {
		list[i].Scope.Kind = kind
	}
	return list
}

func cpu(n int64) Resources { return Resources{CPUMillis: n} }

func TestMergeResources(t *testing.T) {
	for _, tt := range []struct {
		name     string
		manifest int64 // CPUMillis
		request  Resources
		policies []Policy
		want     int64
		source   Source
		denied   []string
	}{
		{"the manifest alone", 2000, Resources{}, nil, 2000, Source{Rule: RuleManifest}, nil},
		{"the request narrows", 2000, cpu(700), nil, 700, Source{"", RuleRequest, "the least of manifest 2000, request 700"}, nil},
		{"the request never widens", 2000, cpu(3000), nil, 2000, Source{"", RuleManifest, "the least of manifest 2000, request 3000"}, nil},
		{"another field of the request", 2000, Resources{MemoryMiB: 64}, nil, 2000, Source{Rule: RuleManifest}, nil},
		{"the default of the platform", 2000, Resources{},
			policies(Policy{DefaultResources: cpu(500)}, Policy{}, Policy{}, Policy{}), 500,
			Source{"", RulePlatformPolicy, "the least of manifest 2000, platform_policy 500"}, nil},
		{"the most specific default, although it is larger", 2000, Resources{},
			policies(Policy{DefaultResources: cpu(500)}, Policy{DefaultResources: cpu(600)}, Policy{DefaultResources: cpu(700)}, Policy{DefaultResources: cpu(800)}), 800,
			Source{"", RuleAgentPolicy, "the least of manifest 2000, agent_policy 800"}, nil},
		{"that of the team, where the one for the agent says nothing", 2000, Resources{},
			policies(Policy{DefaultResources: cpu(500)}, Policy{DefaultResources: cpu(600)}, Policy{DefaultResources: cpu(700)}, Policy{DefaultResources: Resources{DiskMiB: 1}}), 700,
			Source{"", RuleTeamPolicy, "the least of manifest 2000, team_policy 700"}, nil},
		{"a default never widens", 400, Resources{},
			policies(Policy{DefaultResources: cpu(500)}, Policy{}, Policy{}, Policy{}), 400,
			Source{"", RuleManifest, "the least of manifest 400, platform_policy 500"}, nil},
		{"a default is not for those who ask", 2000, cpu(1500),
			policies(Policy{}, Policy{DefaultResources: cpu(500)}, Policy{}, Policy{}), 1500,
			Source{"", RuleRequest, "the least of manifest 2000, request 1500"}, nil},
		{"exactly the ceiling", 2000, Resources{},
			policies(Policy{MaxResources: cpu(2000)}, Policy{}, Policy{}, Policy{}), 2000, Source{Rule: RuleManifest}, nil},
		{"beyond the ceiling of one", 2000, Resources{},
			policies(Policy{MaxResources: cpu(4000)}, Policy{}, Policy{MaxResources: cpu(1999)}, Policy{}), 0, Source{},
			[]string{"the policy of the team allows 1999 cpu_millis, the run asks for 2000"}},
		{"beyond the ceilings of two", 2000, Resources{},
			policies(Policy{}, Policy{MaxResources: cpu(1000)}, Policy{}, Policy{MaxResources: cpu(1999)}), 0, Source{},
			[]string{"the policy of the organization allows 1000 cpu_millis, the run asks for 2000",
				"the organization's policy for this agent allows 1999 cpu_millis, the run asks for 2000"}},
		{"below the ceiling by the request", 2000, cpu(1000),
			policies(Policy{}, Policy{MaxResources: cpu(1000)}, Policy{}, Policy{}), 1000,
			Source{"", RuleRequest, "the least of manifest 2000, request 1000"}, nil},
		{"below the ceiling by a default", 2000, Resources{},
			policies(Policy{DefaultResources: cpu(900)}, Policy{MaxResources: cpu(1000)}, Policy{}, Policy{}), 900,
			Source{"", RulePlatformPolicy, "the least of manifest 2000, platform_policy 900"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := aQuestion()
			q.Version = aVersion(func(m *agentruntime.Manifest) { m.Resources.CPUMillis = tt.manifest })
			q.Request.Resources, q.Policies = tt.request, tt.policies
			plan, err := Resolve(q)
			if tt.denied != nil {
				require.Equal(t, tt.denied, denials(t, err, "/manifest/resources/cpu_millis"))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, plan.Resources.CPUMillis)
			tt.source.Field = "resources.cpu_millis"
			require.Empty(t, cmp.Diff(tt.source, plan.SourceOf(tt.source.Field)))
		})
	}
}

// denials are the reasons of a denial by policies, which all are about one field.
func denials(t *testing.T, err error, pointer string) (messages []string) {
	t.Helper()
	require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
	require.Equal(t, string(ReasonPolicyDenied), fault.From(err).Code)
	for _, f := range fault.From(err).Fields {
		require.Equal(t, pointer, f.Pointer)
		messages = append(messages, f.Message)
	}
	return messages
}

func TestMergeDeadlines(t *testing.T) {
	const run, queue = "deadlines.run_seconds", "deadlines.queue_seconds"
	for _, tt := range []struct {
		name       string
		request    Request
		affordable time.Duration
		policies   []Policy
		field      string
		want       time.Duration
		source     Source
	}{
		{"the ceiling of a policy", Request{}, 0, policies(Policy{}, Policy{MaxRun: time.Minute}, Policy{MaxRun: time.Hour}, Policy{}), run, time.Minute,
			Source{"", RuleOrganizationPolicy, "the least of manifest 300, organization_policy 60, team_policy 3600, platform 86400"}},
		{"a ceiling holds for those who ask", Request{RunTimeout: 2 * time.Minute}, 0, policies(Policy{MaxRun: time.Minute}, Policy{}, Policy{}, Policy{}), run, time.Minute,
			Source{"", RulePlatformPolicy, "the least of manifest 300, request 120, platform_policy 60, platform 86400"}},
		{"a default", Request{}, 0, policies(Policy{DefaultRun: time.Second}, Policy{}, Policy{}, Policy{DefaultRun: 2 * time.Second}), run, 2 * time.Second,
			Source{"", RuleAgentPolicy, "the least of manifest 300, agent_policy 2, platform 86400"}},
		{"a default is not for those who ask", Request{RunTimeout: time.Minute}, 0, policies(Policy{}, Policy{}, Policy{}, Policy{DefaultRun: time.Second}), run, time.Minute,
			Source{"", RuleRequest, "the least of manifest 300, request 60, platform 86400"}},
		{"a default beyond the ceiling", Request{}, 0, policies(Policy{}, Policy{MaxRun: time.Minute}, Policy{DefaultRun: 2 * time.Minute}, Policy{}), run, time.Minute,
			Source{"", RuleOrganizationPolicy, "the least of manifest 300, team_policy 120, organization_policy 60, platform 86400"}},
		{"the budget", Request{}, 90 * time.Second, policies(Policy{MaxRun: 2 * time.Minute}, Policy{}, Policy{}, Policy{}), run, 90 * time.Second,
			Source{"", RulePrice, "the least of manifest 300, platform_policy 120, platform 86400, price 90"}},
		{"the budget pays for what a policy leaves", Request{}, 2 * time.Minute, policies(Policy{MaxRun: 2 * time.Minute}, Policy{}, Policy{}, Policy{}), run, 2 * time.Minute,
			Source{"", RulePlatformPolicy, "the least of manifest 300, platform_policy 120, platform 86400, price 120"}},
		{"the queue by default", Request{}, 0, nil, queue, time.Hour,
			Source{"", RuleDefault, "the least of default 3600, platform 86400"}},
		{"the queue by a policy, longer than the default", Request{}, 0, policies(Policy{DefaultQueue: 2 * time.Hour}, Policy{}, Policy{}, Policy{}), queue, 2 * time.Hour,
			Source{"", RulePlatformPolicy, "the least of platform_policy 7200, platform 86400"}},
		{"the queue by the request", Request{QueueTimeout: 3 * time.Hour}, 0, policies(Policy{DefaultQueue: 2 * time.Hour}, Policy{}, Policy{}, Policy{}), queue, 3 * time.Hour,
			Source{"", RuleRequest, "the least of request 10800, platform 86400"}},
		{"the queue by a ceiling", Request{QueueTimeout: 3 * time.Hour}, 0, policies(Policy{}, Policy{}, Policy{MaxQueue: time.Minute}, Policy{}), queue, time.Minute,
			Source{"", RuleTeamPolicy, "the least of request 10800, team_policy 60, platform 86400"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := aQuestion()
			q.Request, q.Policies = tt.request, tt.policies
			q.Right.Price, q.Right.Affordable = "prc_1", tt.affordable
			plan, err := Resolve(q)
			require.NoError(t, err)
			got := plan.Deadlines.Run
			if tt.field == queue {
				got = plan.Deadlines.Queue
			}
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.source.Rule == RulePrice, plan.BudgetBound)
			tt.source.Field = tt.field
			require.Empty(t, cmp.Diff(tt.source, plan.SourceOf(tt.field)))
		})
	}
}

func TestMergeAttempts(t *testing.T) {
	for _, tt := range []struct {
		request         int
		manifest, limit int64
		want            int
		rule            string
	}{
		{0, 0, 3, 1, RuleDefault}, // the caller asks for no retry
		{0, 5, 3, 1, RuleDefault},
		{2, 0, 3, 1, RuleManifest}, // the publisher allows none
		{2, 5, 3, 2, RuleRequest},
		{9, 2, 3, 2, RuleManifest},
		{9, 5, 3, 3, RulePlatform},
		{9, 5, 0, 1, RulePlatform},
	} {
		q := aQuestion()
		q.Request.Attempts, q.Limits.MaxAttempts = tt.request, int(tt.limit)
		if tt.manifest > 0 {
			q.Version.Manifest.Retry = &agentruntime.Retry{MaxAttempts: tt.manifest}
		}
		plan, err := Resolve(q)
		require.NoError(t, err)
		require.Equal(t, tt.want, plan.AgentAttempts, "%+v", tt)
		require.Equal(t, tt.rule, plan.SourceOf("agent_attempts").Rule, "%+v", tt)
		require.EqualValues(t, tt.limit, plan.MaxAttempts)
	}
}

// TestMergeAttemptsOfTime: what is held for a run that is paid by time pays for one
// attempt.
func TestMergeAttemptsOfTime(t *testing.T) {
	q := aQuestion()
	q.Request.Attempts, q.Version.Manifest.Retry = 3, &agentruntime.Retry{MaxAttempts: 3}
	q.Right.Affordable = time.Hour
	plan, err := Resolve(q)
	require.NoError(t, err)
	require.Equal(t, 1, plan.AgentAttempts)
	require.Equal(t, RulePrice, plan.SourceOf("agent_attempts").Rule)
}

func TestMergeRetention(t *testing.T) {
	q := aQuestion()
	plan, err := Resolve(q)
	require.NoError(t, err)
	require.Zero(t, plan.Retention, "for good")

	q.Policies = policies(Policy{KeepInput: time.Hour, KeepOutput: time.Minute}, Policy{KeepInput: time.Minute}, Policy{}, Policy{KeepOutput: time.Hour})
	plan, err = Resolve(q)
	require.NoError(t, err)
	require.Equal(t, Retention{Input: time.Minute, Output: time.Minute}, plan.Retention, "the shortest that is not 0")
	for field, rule := range map[string]string{
		"retention.input_seconds": RuleOrganizationPolicy, "retention.output_seconds": RulePlatformPolicy, "retention.log_seconds": RuleDefault,
	} {
		require.Equal(t, rule, plan.SourceOf(field).Rule, field)
	}
}

// TestDenialsAreCollected: what the platform cannot give comes first, for it is
// what nobody here can change.
func TestDenialsAreCollected(t *testing.T) {
	q := aQuestion()
	q.Version = aVersion(func(m *agentruntime.Manifest) { m.Tools, m.Secrets = []string{"mail", "search"}, []string{"TOKEN"} })
	q.Request.Mode = ModeSync
	q.Policies = policies(Policy{Tier: TierSandboxed}, Policy{Agents: []string{}, Tools: []string{"search"}}, Policy{Secrets: []string{}, MaxResources: cpu(1)}, Policy{Modes: []Mode{ModeAsync}})
	plan, err := Resolve(q)
	require.Empty(t, cmp.Diff(Plan{}, plan))
	require.Equal(t, []string{"/agent", "/manifest/resources/cpu_millis", "/manifest/tools/0", "/manifest/secrets/0", "/tier", "/mode"}, pointersOf(err))
	require.Equal(t, fault.Forbidden, fault.KindOf(err))
	require.Equal(t, "a policy does not allow the run: the policy of the organization does not allow acme/reviewer, and for 5 more reasons", fault.From(err).Message)

	q.Limits.Resources.DiskMiB = 1
	_, err = Resolve(q)
	require.Len(t, pointersOf(err), 7)
	require.Equal(t, []any{fault.Invalid, "plan_invalid", "/manifest/resources/disk_mib"}, []any{fault.KindOf(err), fault.From(err).Code, pointersOf(err)[0]})
}

func ExampleResolve() {
	version := Version{Number: "1.2.3", Manifest: agentruntime.Manifest{
		Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.Timeouts{RunSeconds: 3600, StartSeconds: 120},
	}}
	plan, err := Resolve(Question{
		Version: version, Request: Request{RunTimeout: 30 * time.Minute}, Limits: DefaultLimits(),
		Policies: []Policy{
			{Scope: PolicyScope{Kind: ScopeOrganization}, MaxRun: 10 * time.Minute},
			{Scope: PolicyScope{Kind: ScopeTeam}, DefaultResources: Resources{CPUMillis: 250}},
		},
	})
	if err != nil {
		panic(err)
	}
	for _, field := range []string{"resources.cpu_millis", "deadlines.run_seconds"} {
		s := plan.SourceOf(field)
		fmt.Printf("%s by %s: %s\n", s.Field, s.Rule, s.Detail)
	}
	// Output:
	// resources.cpu_millis by team_policy: the least of manifest 500, team_policy 250
	// deadlines.run_seconds by organization_policy: the least of manifest 3600, request 1800, organization_policy 600, platform 86400
}
