package infra_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/infra"
)

// healthy is what a probe reports where everything holds.
func healthy() infra.Probed {
	none := []string{"0000000000000000", "0000000000000000"}
	target := func(name string) agentruntime.ProbedTarget {
		return agentruntime.ProbedTarget{ProbeTarget: agentruntime.ProbeTarget{Name: name, Network: "tcp", Address: "192.0.2.1:1"}, Tries: 50, LastTry: 5000}
	}
	gateway := target(infra.TargetGateway)
	gateway.Reached, gateway.FirstReached, gateway.LastReached = 50, 3, 5001
	return infra.Probed{
		Gateway: true, Ended: true, Outcome: infra.Outcome{Reason: infra.ReasonAgentDisk},
		Lines: []agentruntime.ProbeReport{
			{Targets: []agentruntime.ProbedTarget{target("API server"), gateway}, Identity: &agentruntime.ProbedIdentity{
				UID: 65532, GID: 65532, Seccomp: "2", NoNewPrivs: "1", Capabilities: none, Kernel: "6.6.1",
				Audiences: []string{infra.GatewayAudience}, TokenSeconds: 600,
			}},
			{Processes: &agentruntime.ProbedProcesses{Started: 500, Refused: true}},
		},
	}
}

func TestJudgeHealthy(t *testing.T) {
	e := infra.Judge(healthy())
	require.Len(t, e.Findings, 11)
	for _, f := range e.Findings {
		require.Equal(t, infra.Holds, f.State, "%+v", f)
	}
}

// TestJudge: each promise that is broken is found, and no other one with it.
func TestJudge(t *testing.T) {
	reach := func(first, last int64) func(*infra.Probed) {
		return func(p *infra.Probed) {
			target := &p.Lines[0].Targets[0]
			target.Reached, target.FirstReached, target.LastReached = 1, first, last
		}
	}
	identity := func(change func(*agentruntime.ProbedIdentity)) func(*infra.Probed) {
		return func(p *infra.Probed) { change(p.Lines[0].Identity) }
	}
	for name, c := range map[string]struct {
		change func(*infra.Probed)
		want   map[string]infra.State
	}{
		"open network": {reach(5, 4990), map[string]infra.State{infra.CheckNetwork: infra.Broken, infra.CheckFirstPacket: infra.Broken}},
		"a window":     {reach(5, 300), map[string]infra.State{infra.CheckFirstPacket: infra.Broken}},
		"nothing to attack": {
			func(p *infra.Probed) { p.Lines[0].Targets = p.Lines[0].Targets[1:] },
			map[string]infra.State{infra.CheckNetwork: infra.Unknown, infra.CheckFirstPacket: infra.Unknown},
		},
		"no gateway":       {func(p *infra.Probed) { p.Lines[0].Targets[1].Reached = 0 }, map[string]infra.State{infra.CheckGateway: infra.Unknown}},
		"seccomp":          {identity(func(i *agentruntime.ProbedIdentity) { i.Seccomp = "0" }), map[string]infra.State{infra.CheckSeccomp: infra.Broken}},
		"capabilities":     {identity(func(i *agentruntime.ProbedIdentity) { i.Capabilities[1] = "00000000a80425fb" }), map[string]infra.State{infra.CheckPrivileges: infra.Broken}},
		"nothing known of": {identity(func(i *agentruntime.ProbedIdentity) { i.Capabilities = nil }), map[string]infra.State{infra.CheckPrivileges: infra.Broken}},
		"new privileges":   {identity(func(i *agentruntime.ProbedIdentity) { i.NoNewPrivs = "0" }), map[string]infra.State{infra.CheckPrivileges: infra.Broken}},
		"root":             {identity(func(i *agentruntime.ProbedIdentity) { i.UID = 0 }), map[string]infra.State{infra.CheckNonRoot: infra.Broken}},
		"writable root":    {identity(func(i *agentruntime.ProbedIdentity) { i.Written = []string{"/"} }), map[string]infra.State{infra.CheckReadOnly: infra.Broken}},
		"another audience": {identity(func(i *agentruntime.ProbedIdentity) { i.Audiences = append(i.Audiences, "api") }), map[string]infra.State{infra.CheckToken: infra.Broken}},
		"a long token":     {identity(func(i *agentruntime.ProbedIdentity) { i.TokenSeconds = 86400 * 365 }), map[string]infra.State{infra.CheckToken: infra.Broken}},
		"another token":    {identity(func(i *agentruntime.ProbedIdentity) { i.OtherTokens = []string{"/run/secrets/x"} }), map[string]infra.State{infra.CheckToken: infra.Broken}},
		"no process limit": {
			func(p *infra.Probed) {
				*p.Lines[1].Processes = agentruntime.ProbedProcesses{Started: agentruntime.MaxProbeProcesses}
			}, map[string]infra.State{infra.CheckProcesses: infra.Broken},
		},
		"processes not known": {func(p *infra.Probed) { p.Lines = p.Lines[:1] }, map[string]infra.State{infra.CheckProcesses: infra.Unknown}},
		"no disk limit": {func(p *infra.Probed) {
			p.Outcome.Reason, p.Lines = infra.ReasonOK, append(p.Lines, agentruntime.ProbeReport{Survived: true})
		}, map[string]infra.State{infra.CheckDisk: infra.Broken}},
		"ended otherwise":   {func(p *infra.Probed) { p.Outcome.Reason = infra.ReasonNodeLost }, map[string]infra.State{infra.CheckDisk: infra.Unknown}},
		"no user namespace": {func(p *infra.Probed) { p.Namespaced = true }, map[string]infra.State{infra.CheckUsers: infra.Broken}},
		"the node's kernel": {func(p *infra.Probed) { p.Sandboxed, p.NodeKernel = true, "6.6.1" }, map[string]infra.State{infra.CheckKernel: infra.Broken}},
		"kernel not known":  {func(p *infra.Probed) { p.Sandboxed = true }, map[string]infra.State{infra.CheckKernel: infra.Unknown}},
		"no report":         {func(p *infra.Probed) { p.Lines = nil }, map[string]infra.State{infra.CheckProbe: infra.Unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			p := healthy()
			c.change(&p)
			got := map[string]infra.State{}
			for _, f := range infra.Judge(p).Findings {
				if f.State != infra.Holds {
					require.NotEmpty(t, f.Message)
					got[f.Check] = f.State
				}
			}
			require.Equal(t, c.want, got)
		})
	}
}

// TestJudgeSandboxed: a kernel of its own filters system calls in a place that is not seen.
func TestJudgeSandboxed(t *testing.T) {
	p := healthy()
	p.Sandboxed = true
	p.Lines[0].Identity.Seccomp, p.Lines[0].Identity.Kernel = "0", "4.19.0-gvisor"
	require.Empty(t, infra.Judge(p).Broken())
}
