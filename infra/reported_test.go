package infra_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/infra"
)

// TestReportedAsTheClusterWillTell: whoever is first, the gateway or the kubelet, the
// run ends alike.
func TestReportedAsTheClusterWillTell(t *testing.T) {
	zero, three := 0, 3
	for name, e := range map[string]agentruntime.Envelope{
		"result":    {Outcome: agentruntime.OK, ExitCode: &zero},
		"failure":   {Outcome: agentruntime.AgentError, ExitCode: &three, Message: "no such city"},
		"no result": {Outcome: agentruntime.AgentNoResult, ExitCode: &zero},
		"no JSON":   {Outcome: agentruntime.AgentInvalidResult, ExitCode: &zero},
	} {
		t.Run(name, func(t *testing.T) {
			e.V, e.Run, e.Attempt, e.StartedAt, e.FinishedAt = 1, ref.Run, ref.Attempt, begun, begun.Add(time.Second)
			if e.Outcome == agentruntime.OK {
				require.True(t, e.SetResult([]byte(`{"a":1}`)))
			}
			require.True(t, e.Conclusive())
			text, err := e.Encode()
			require.NoError(t, err)
			seen := podThat(func(p *infra.Pod) {
				p.Terminated = &infra.Terminated{Message: string(text), ExitCode: int(e.Outcome.ExitCode()), StartedAt: e.StartedAt, FinishedAt: e.FinishedAt}
			})
			want := infra.Classify(ref, seen, begun.Add(time.Minute)).Outcome
			want.Reported = true
			require.Empty(t, cmp.Diff(want, infra.Reported(ref, e)))
		})
	}
}
