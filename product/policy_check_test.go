package product

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/money"
)

// aPolicy says something about everything, up to its bounds.
func aPolicy() Policy {
	many := make([]string, MaxPolicyEntries)
	for i := range many {
		many[i] = "acme/*"
	}
	most := Resources{CPUMillis: MaxPolicyCPU, MemoryMiB: MaxPolicyMiB, DiskMiB: MaxPolicyMiB}
	return Policy{
		Agents: many, ApprovalAgents: []string{"a/b", "acme/" + strings.Repeat("a", 40)},
		MaxResources: most, DefaultResources: most,
		MaxRun: MaxPolicyDuration, MaxQueue: MaxPolicyDuration, DefaultRun: MaxPolicyDuration, DefaultQueue: MaxPolicyDuration,
		Tier: TierSandboxed, Tools: []string{"*", "search/*", "search/web", strings.Repeat("a", 127) + "*"},
		Models: []string{"small-*", "vendor/large:1"}, Secrets: []string{"TOKEN"}, Egress: []string{"*.example.com:443", "api.example.com"},
		Modes: []Mode{ModeAsync, ModeSync}, ApprovalAbove: money.Of(money.MaxMicros, "USD"),
		KeepInput: MaxRetention, KeepOutput: MaxRetention, KeepLog: MaxRetention,
	}
}

func TestPolicyCheck(t *testing.T) {
	require.NoError(t, Policy{}.Check())
	require.NoError(t, aPolicy().Check())
	require.NoError(t, Policy{Agents: []string{}, Tools: []string{}, Modes: []Mode{}, ApprovalAbove: money.Of(0, "USD")}.Check())
	for name, tt := range map[string]struct {
		change   func(*Policy)
		pointers []string
	}{
		"too many agents":        {func(p *Policy) { p.Agents = append(p.Agents, "acme/*") }, []string{"/agents"}},
		"no agents":              {func(p *Policy) { p.Agents = []string{"a/b", "", "acme", "*/b", "*", "a/b/c", "A/b", "a/-b", "a/b*"} }, []string{"/agents/1", "/agents/2", "/agents/3", "/agents/4", "/agents/5", "/agents/6", "/agents/7", "/agents/8"}},
		"a name that is no name": {func(p *Policy) { p.ApprovalAgents = []string{"a/" + strings.Repeat("a", 41)} }, []string{"/approval_agents/0"}},
		"less than no cpu":       {func(p *Policy) { p.MaxResources.CPUMillis = -1 }, []string{"/max_resources/cpu_millis"}},
		"more than any cpu":      {func(p *Policy) { p.DefaultResources.CPUMillis++ }, []string{"/default_resources/cpu_millis"}},
		"more than any memory":   {func(p *Policy) { p.MaxResources.MemoryMiB++ }, []string{"/max_resources/memory_mib"}},
		"more than any disk":     {func(p *Policy) { p.MaxResources.DiskMiB++ }, []string{"/max_resources/disk_mib"}},
		"too long a run":         {func(p *Policy) { p.MaxRun++ }, []string{"/max_run_seconds"}},
		"too long a queue":       {func(p *Policy) { p.MaxQueue++ }, []string{"/max_queue_seconds"}},
		"a run before it begins": {func(p *Policy) { p.DefaultRun = -time.Second }, []string{"/default_run_seconds"}},
		"a queue before it":      {func(p *Policy) { p.DefaultQueue = -1 }, []string{"/default_queue_seconds"}},
		"a tier":                 {func(p *Policy) { p.Tier = "strongest" }, []string{"/tier"}},
		"tools":                  {func(p *Policy) { p.Tools = []string{"", "**", "*a", "Search", strings.Repeat("a", 128) + "*"} }, []string{"/tools/0", "/tools/1", "/tools/2", "/tools/3", "/tools/4"}},
		"secrets":                {func(p *Policy) { p.Secrets = []string{"token", "TOKEN*"} }, []string{"/secrets/0", "/secrets/1"}},
		"secret files":           {func(p *Policy) { p.SecretFiles = []string{"TOKEN", "token"} }, []string{"/secret_files/1"}},
		"models":                 {func(p *Policy) { p.Models = []string{"*a", "", "a*"} }, []string{"/models/0", "/models/1"}},
		"hosts":                  {func(p *Policy) { p.Egress = []string{"*", "10.0.0.1", "example.com:0", "a.example.com"} }, []string{"/egress/0", "/egress/1", "/egress/2"}},
		"modes":                  {func(p *Policy) { p.Modes = []Mode{ModeSync, "later", ""} }, []string{"/modes/1", "/modes/2"}},
		"too many modes":         {func(p *Policy) { p.Modes = make([]Mode, 201); fillModes(p.Modes) }, []string{"/modes"}},
		"an amount of nothing":   {func(p *Policy) { p.ApprovalAbove = money.Of(5, "") }, []string{"/approval_above/currency"}},
		"a debt":                 {func(p *Policy) { p.ApprovalAbove.Micros = -1 }, []string{"/approval_above/amount_micros"}},
		"too much":               {func(p *Policy) { p.ApprovalAbove.Micros++ }, []string{"/approval_above/amount_micros"}},
		"kept too long":          {func(p *Policy) { p.KeepInput++; p.KeepOutput++; p.KeepLog = -1 }, []string{"/keep_input_seconds", "/keep_output_seconds", "/keep_log_seconds"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := aPolicy()
			tt.change(&p)
			err := p.Check()
			require.Equal(t, tt.pointers, pointersOf(err))
			require.Equal(t, []any{fault.Invalid, "policy_invalid"}, []any{fault.KindOf(err), fault.From(err).Code})
		})
	}
}

func fillModes(modes []Mode) {
	for i := range modes {
		modes[i] = ModeSync
	}
}
