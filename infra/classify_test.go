package infra_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/ids"
	"agentmarket/infra"
)

var (
	created = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	begun   = created.Add(time.Second)
	over    = created.Add(3 * time.Second)
	ref     = infra.Ref{Run: ids.New[ids.Run](ids.PrefixRun), Attempt: 1}
)

// envelope is what the supervisor of an attempt writes.
func envelope(t *testing.T, of infra.Ref, outcome agentruntime.Outcome, exit *int) string {
	t.Helper()
	e := agentruntime.Envelope{
		V: agentruntime.EnvelopeVersion, Run: of.Run, Attempt: of.Attempt, Outcome: outcome, ExitCode: exit,
		StartedAt: begun, FinishedAt: over,
	}
	if outcome == agentruntime.OK {
		require.True(t, e.SetResult([]byte(`{"greeting":"hello"}`)))
	}
	text, err := e.Encode()
	require.NoError(t, err)
	return string(text)
}

// podThat returns a pod as Kubernetes shows it in the middle of its life.
func podThat(change func(*infra.Pod)) infra.Observed {
	p := &infra.Pod{Name: "p", CreatedAt: created, Phase: "Running"}
	change(p)
	return infra.Observed{JobExists: true, Pod: p}
}

func endedWith(exit int, reason, message string) func(*infra.Pod) {
	return func(p *infra.Pod) {
		p.Phase = "Failed"
		if exit == 0 {
			p.Phase = "Succeeded"
		}
		p.Terminated = &infra.Terminated{Reason: reason, Message: message, ExitCode: exit, StartedAt: begun, FinishedAt: over}
	}
}

func TestClassifyEndedPods(t *testing.T) {
	other := infra.Ref{Run: ref.Run, Attempt: 2}
	zero, three := 0, 3
	good := envelope(t, ref, agentruntime.OK, &zero)
	for name, tc := range map[string]struct {
		seen infra.Observed
		want infra.Reason
	}{
		"exit 0 with its envelope":             {podThat(endedWith(0, "Completed", good)), infra.ReasonOK},
		"exit 0 without an envelope":           {podThat(endedWith(0, "Completed", "")), infra.ReasonAgentNoResult},
		"exit 0 with another attempt's":        {podThat(endedWith(0, "Completed", envelope(t, other, agentruntime.OK, &zero))), infra.ReasonAgentNoResult},
		"exit 0 with garbage":                  {podThat(endedWith(0, "Completed", "{")), infra.ReasonAgentNoResult},
		"agent failed":                         {podThat(endedWith(1, "Error", envelope(t, ref, agentruntime.AgentError, &three))), infra.ReasonAgentError},
		"agent failed, envelope destroyed":     {podThat(endedWith(1, "Error", "")), infra.ReasonAgentError},
		"envelope claims what the exit denies": {podThat(endedWith(1, "Error", good)), infra.ReasonAgentError},
		"no result":                            {podThat(endedWith(123, "Error", envelope(t, ref, agentruntime.AgentNoResult, &zero))), infra.ReasonAgentNoResult},
		"invalid result":                       {podThat(endedWith(125, "Error", envelope(t, ref, agentruntime.AgentInvalidResult, &zero))), infra.ReasonAgentInvalidResult},
		"run timeout":                          {podThat(endedWith(124, "Error", envelope(t, ref, agentruntime.DeadlineExceeded, nil))), infra.ReasonDeadline},
		"command not found":                    {podThat(endedWith(122, "Error", envelope(t, ref, agentruntime.ConfigError, nil))), infra.ReasonConfigError},
		"supervisor failed":                    {podThat(endedWith(120, "Error", "")), infra.ReasonPlatformError},
		"input missing":                        {podThat(endedWith(121, "Error", envelope(t, ref, agentruntime.PlatformError, nil))), infra.ReasonPlatformError},
		"OOM seen by the supervisor":           {podThat(endedWith(118, "Error", envelope(t, ref, agentruntime.AgentOOM, nil))), infra.ReasonAgentOOM},
		"OOM seen by the kubelet":              {podThat(endedWith(137, "OOMKilled", "")), infra.ReasonAgentOOM},
		"a child was OOM-killed, agent fine":   {podThat(endedWith(0, "OOMKilled", good)), infra.ReasonOK},
		"supervisor killed from outside":       {podThat(endedWith(137, "Error", "")), infra.ReasonPlatformError},
		"agent stopped its own container":      {podThat(endedWith(119, "Error", envelope(t, ref, agentruntime.Terminated, nil))), infra.ReasonAgentError},
		"deleted by somebody while it ran": {podThat(func(p *infra.Pod) {
			endedWith(119, "Error", "")(p)
			p.Deleting = true
		}), infra.ReasonPodGone},
		"drained": {podThat(func(p *infra.Pod) {
			endedWith(119, "Error", "")(p)
			p.Disruption, p.Deleting = "EvictionByEvictionAPI", true
		}), infra.ReasonEvicted},
		"preempted": {podThat(func(p *infra.Pod) {
			endedWith(137, "Error", "")(p)
			p.Disruption = "PreemptionByScheduler"
		}), infra.ReasonPreempted},
		"disruption announced, but it finished within its grace": {podThat(func(p *infra.Pod) {
			endedWith(0, "Completed", good)(p)
			p.Disruption = "EvictionByEvictionAPI"
		}), infra.ReasonOK},
		"evicted, but it had finished": {podThat(func(p *infra.Pod) {
			endedWith(0, "Completed", good)(p)
			p.Reason, p.Phase, p.Message = "Evicted", "Failed", "The node was low on resource: memory."
		}), infra.ReasonOK},
		"evicted, and what it left is of another attempt": {podThat(func(p *infra.Pod) {
			endedWith(0, "Completed", envelope(t, other, agentruntime.OK, &zero))(p)
			p.Reason = "Evicted"
		}), infra.ReasonEvicted},
		"kubelet's deadline, the container never started": {podThat(func(p *infra.Pod) {
			endedWith(137, "ContainerStatusUnknown", "")(p)
			p.Reason, p.ScheduledAt, p.Terminated.StartedAt = "DeadlineExceeded", created, time.Time{}
		}), infra.ReasonSandboxError},
		"deleted before it started": {podThat(func(p *infra.Pod) {
			endedWith(137, "ContainerStatusUnknown", "")(p)
			p.Deleting, p.Terminated.StartedAt = true, time.Time{}
		}), infra.ReasonPodGone},
		"node lost the container":    {podThat(endedWith(137, "ContainerStatusUnknown", "")), infra.ReasonNodeLost},
		"runtime lost the exit code": {podThat(endedWith(255, "Unknown", good)), infra.ReasonNodeLost},
		"container could not start":  {podThat(endedWith(128, "StartError", "exec format error")), infra.ReasonSandboxError},
		"kubelet's deadline": {podThat(func(p *infra.Pod) {
			endedWith(137, "Error", "")(p)
			p.Reason = "DeadlineExceeded"
		}), infra.ReasonDeadline},
		"kubelet's deadline before it started": {podThat(func(p *infra.Pod) {
			p.Phase, p.Reason, p.ScheduledAt = "Failed", "DeadlineExceeded", created
		}), infra.ReasonSandboxError},
		"evicted, node short of memory": {podThat(func(p *infra.Pod) {
			p.Phase, p.Reason, p.Message = "Failed", "Evicted", "The node was low on resource: memory."
		}), infra.ReasonEvicted},
		"evicted, its own disk use": {podThat(func(p *infra.Pod) {
			p.Phase, p.Reason, p.Message = "Failed", "Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 64Mi."
		}), infra.ReasonAgentDisk},
		"refused by the node": {podThat(func(p *infra.Pod) {
			p.Phase, p.Reason = "Failed", "OutOfcpu"
		}), infra.ReasonSandboxError},
		"node shut down": {podThat(func(p *infra.Pod) {
			p.Phase, p.Reason = "Failed", "NodeShutdown"
		}), infra.ReasonNodeLost},
		"succeeded by phase alone is no success": {podThat(func(p *infra.Pod) { p.Phase = "Succeeded" }), infra.ReasonSandboxError},
		"pod and job gone":                       {infra.Observed{}, infra.ReasonPodGone},
		"pod gone, job failed":                   {infra.Observed{JobExists: true, JobFailed: "BackoffLimitExceeded: x"}, infra.ReasonPodGone},
	} {
		t.Run(name, func(t *testing.T) {
			v := infra.Classify(ref, tc.seen, over)
			require.True(t, v.Ended)
			require.Equal(t, tc.want, v.Outcome.Reason, v.Outcome.Message)
			if tc.want != infra.ReasonOK {
				require.NotEmpty(t, v.Outcome.Message)
			}
		})
	}
}

func TestClassifyKeepsTheAgentsExitCodeAndTimes(t *testing.T) {
	three := 3
	v := infra.Classify(ref, podThat(endedWith(1, "Error", envelope(t, ref, agentruntime.AgentError, &three))), over)
	v.Outcome.Message = ""
	want := infra.Outcome{Reason: infra.ReasonAgentError, ExitCode: &three, StartedAt: begun, FinishedAt: over}
	require.Empty(t, cmp.Diff(want, v.Outcome))
}

func TestMessagesAreBounded(t *testing.T) {
	seen := podThat(func(p *infra.Pod) {
		p.Phase, p.Reason, p.Message = "Failed", "Evicted", strings.Repeat("ä", infra.MaxMessage)
	})
	message := infra.Classify(ref, seen, over).Outcome.Message
	require.LessOrEqual(t, len(message), infra.MaxMessage)
	require.True(t, strings.HasSuffix(message, "ä…"))
}

func TestNamesFitKubernetes(t *testing.T) {
	name := infra.Ref{Run: ref.Run, Attempt: 1000}.Name()
	require.Regexp(t, `^run-[0-9a-z]{26}-a1000$`, name)
	require.LessOrEqual(t, len(name), 63-len("-xxxxx"), "the Job controller appends to it")
}
