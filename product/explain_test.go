package product

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/money"
)

// sourcesOf are the names under which the fields of a plan are explained. Those
// without any are identifiers, or said with others.
var sourcesOf = map[string][]string{
	"AgentID": nil, "PublisherID": nil, "VersionID": nil, "BudgetBound": nil, "Sources": nil, "ResolvedAt": nil,
	"Version": {"version"}, "Image": {"image"}, "Command": {"command"}, "Env": {"env"},
	"EntitlementID": {"entitlement"}, "PriceID": {"price"}, "Budget": {"budget"},
	"Resources":   {"resources.cpu_millis", "resources.memory_mib", "resources.disk_mib"},
	"Deadlines":   {"deadlines.queue_seconds", "deadlines.start_seconds", "deadlines.run_seconds", "deadlines.grace_seconds"},
	"MaxAttempts": {"max_attempts"}, "AgentAttempts": {"agent_attempts"},
	"MaxOutputBytes": {"max_output_bytes"}, "MaxLogBytes": {"max_log_bytes"},
	"Tools": {"tools"}, "Models": {"models"}, "Secrets": {"secrets"}, "SecretFiles": {"secret_files"}, "Egress": {"egress"}, "Tier": {"tier"}, "Warm": nil, "Mode": {"mode"}, "Approval": {"approval"},
	"Retention": {"retention.input_seconds", "retention.output_seconds", "retention.log_seconds"},
}

// TestEveryFieldHasASource: one, and none that is not a field.
func TestEveryFieldHasASource(t *testing.T) {
	var want []string
	for i := range reflect.TypeFor[Plan]().NumField() {
		field := reflect.TypeFor[Plan]().Field(i)
		names, known := sourcesOf[field.Name]
		require.True(t, known, "%s: who sets it?", field.Name)
		if field.Type.Kind() == reflect.Struct && field.Type.PkgPath() == "agentmarket/product" {
			require.Len(t, names, field.Type.NumField(), field.Name)
		}
		want = append(want, names...)
	}
	plan, err := Resolve(aQuestion())
	require.NoError(t, err)
	var got []string
	for _, s := range plan.Sources {
		got = append(got, s.Field)
		require.NotEmpty(t, s.Rule, s.Field)
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Empty(t, cmp.Diff(want, got))
	require.Zero(t, plan.SourceOf("nothing"))
}

func TestSourcesOfVersionAndMoney(t *testing.T) {
	usd := money.Of(5, "USD")
	for _, tt := range []struct {
		name    string
		request Request
		right   Right
		want    []Source
	}{
		{"chosen by a rollout", Request{Version: "stable", VersionRule: RuleRollout}, Right{},
			[]Source{{"version", RuleRollout, "stable"}, {"price", RuleDefault, "there is nothing to pay"}, {"budget", RuleDefault, "there is nothing to pay"}}},
		{"a run of an older program, which names a version", Request{Version: "1.2.3"}, Right{Price: "prc_1", Budget: usd},
			[]Source{{"version", RuleRequest, "1.2.3"}, {"price", RulePrice, ""}, {"budget", RulePrice, ""}}},
		{"a run of an older program", Request{MaxCost: usd}, Right{Price: "prc_1", Budget: usd},
			[]Source{{"version", RuleInstallation, ""}, {"price", RulePrice, ""}, {"budget", RuleRequest, ""}}},
		{"the price is less than what is allowed", Request{MaxCost: money.Of(9, "USD")}, Right{Price: "prc_1", Budget: usd},
			[]Source{{"version", RuleInstallation, ""}, {"price", RulePrice, ""}, {"budget", RulePrice, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := aQuestion()
			q.Request, q.Right = tt.request, tt.right
			plan, err := Resolve(q)
			require.NoError(t, err)
			for _, want := range tt.want {
				require.Empty(t, cmp.Diff(want, plan.SourceOf(want.Field)))
			}
		})
	}
}

func TestPolicyRule(t *testing.T) {
	for i, want := range []string{RulePlatformPolicy, RuleOrganizationPolicy, RuleTeamPolicy, RuleAgentPolicy} {
		require.Equal(t, want, policies(Policy{}, Policy{}, Policy{}, Policy{})[i].Rule())
	}
}
