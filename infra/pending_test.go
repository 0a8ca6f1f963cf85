package infra_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/infra"
)

func TestClassifyWaitsForWhatTimeMayMend(t *testing.T) {
	waiting := func(reason string) infra.Observed {
		return podThat(func(p *infra.Pod) {
			p.Phase, p.Waiting = "Pending", &infra.Waiting{Reason: reason, Message: "m"}
		})
	}
	for name, tc := range map[string]struct {
		seen  infra.Observed
		after time.Duration
		want  infra.Verdict
	}{
		"no pod yet":           {infra.Observed{JobExists: true}, 0, infra.Verdict{}},
		"container is created": {waiting("ContainerCreating"), time.Hour, infra.Verdict{}},
		"running":              {podThat(func(p *infra.Pod) { p.Running = &infra.Running{StartedAt: begun} }), time.Hour, infra.Verdict{}},
		"first failed pull":    {waiting("ErrImagePull"), 10 * time.Second, infra.Verdict{LookAgain: 20 * time.Second}},
		"scheduled late, first failed pull": {podThat(func(p *infra.Pod) {
			p.Phase, p.Waiting, p.ScheduledAt = "Pending", &infra.Waiting{Reason: "ErrImagePull", Message: "m"}, created.Add(40*time.Second)
		}), 45 * time.Second, infra.Verdict{LookAgain: 25 * time.Second}},
		"pull failed for long":    {waiting("ImagePullBackOff"), infra.PullGrace, infra.Verdict{Ended: true, Outcome: infra.Outcome{Reason: infra.ReasonImageUnavailable, Message: "m"}}},
		"impossible image":        {waiting("InvalidImageName"), 0, infra.Verdict{Ended: true, Outcome: infra.Outcome{Reason: infra.ReasonImageInvalid, Message: "m"}}},
		"cannot be created":       {waiting("CreateContainerError"), infra.PullGrace, infra.Verdict{Ended: true, Outcome: infra.Outcome{Reason: infra.ReasonConfigError, Message: "m"}}},
		"no pod, with a deadline": {infra.Observed{JobExists: true, StartBy: created.Add(time.Minute)}, 10 * time.Second, infra.Verdict{LookAgain: 50 * time.Second}},
		"its deletion takes time": {podThat(func(p *infra.Pod) {
			p.Deleting, p.GoneBy, p.Running = true, created.Add(5*time.Second), &infra.Running{StartedAt: begun}
		}), 10 * time.Second, infra.Verdict{LookAgain: 25 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, cmp.Diff(tc.want, infra.Classify(ref, tc.seen, created.Add(tc.after))))
		})
	}
}

func TestNotStartedSaysWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		seen infra.Observed
		want infra.Reason
	}{
		"no room":  {podThat(func(p *infra.Pod) { p.Unschedulable = "0/1 nodes are available: 1 Insufficient cpu." }), infra.ReasonUnschedulable},
		"no pod":   {infra.Observed{JobExists: true}, infra.ReasonUnschedulable},
		"nothing":  {infra.Observed{}, infra.ReasonPodGone},
		"pulling":  {podThat(func(p *infra.Pod) { p.Waiting = &infra.Waiting{Reason: "ErrImagePull"} }), infra.ReasonImageUnavailable},
		"creating": {podThat(func(p *infra.Pod) { p.Waiting = &infra.Waiting{Reason: "ContainerCreating"} }), infra.ReasonSandboxError},
		"image slow": {podThat(func(p *infra.Pod) {
			p.Sandboxed, p.Waiting = true, &infra.Waiting{Reason: "ContainerCreating"}
		}), infra.ReasonImageUnavailable},
		"config wrong": {podThat(func(p *infra.Pod) { p.Waiting = &infra.Waiting{Reason: "CreateContainerConfigError"} }), infra.ReasonConfigError},
		"nobody knows": {podThat(func(p *infra.Pod) { p.ScheduledAt = begun }), infra.ReasonSandboxError},
		"no scheduler": {podThat(func(*infra.Pod) {}), infra.ReasonUnschedulable},
		"no quota":     {infra.Observed{JobExists: true, Refused: `pods "x" is forbidden: exceeded quota: runs, requested: pods=1`}, infra.ReasonQuotaExceeded},
		"quota new":    {infra.Observed{JobExists: true, Refused: `pods "x" is forbidden: status unknown for quota: runs, resources: pods`}, infra.ReasonQuotaExceeded},
		"forbidden":    {infra.Observed{JobExists: true, Refused: `pods "x" is forbidden: violates PodSecurity "restricted:v1.35"`}, infra.ReasonJobRefused},
		"policy":       {infra.Observed{JobExists: true, Refused: `ValidatingAdmissionPolicy 'x' denied request: no digest`}, infra.ReasonJobRefused},
		"webhook away": {infra.Observed{JobExists: true, Refused: `Internal error occurred: failed calling webhook "x"`}, infra.ReasonSandboxError},
	} {
		t.Run(name, func(t *testing.T) {
			o := infra.NotStarted(tc.seen)
			require.Equal(t, tc.want, o.Reason)
			require.NotEmpty(t, o.Message)
		})
	}
}

// TestWatchdogs: what Kubernetes would wait for for ever ends.
func TestWatchdogs(t *testing.T) {
	by := created.Add(time.Minute)
	pending := func(change func(*infra.Pod)) infra.Observed {
		seen := podThat(func(p *infra.Pod) {
			p.Phase, p.Node = "Pending", "node-1"
			change(p)
		})
		seen.StartBy = by
		return seen
	}
	for name, tc := range map[string]struct {
		seen infra.Observed
		want infra.Reason
	}{
		"no node":        {pending(func(p *infra.Pod) { p.Unschedulable = "0/1 nodes are available" }), infra.ReasonUnschedulable},
		"no pod":         {infra.Observed{JobExists: true, StartBy: by}, infra.ReasonUnschedulable},
		"a slow sandbox": {pending(func(p *infra.Pod) { p.Waiting = &infra.Waiting{Reason: "ContainerCreating"} }), infra.ReasonSandboxError},
		"a slow pull": {pending(func(p *infra.Pod) {
			p.Sandboxed, p.Waiting = true, &infra.Waiting{Reason: "ContainerCreating"}
		}), infra.ReasonImageUnavailable},
		"a pull that fails":   {pending(func(p *infra.Pod) { p.Waiting = &infra.Waiting{Reason: "ErrImagePull", Message: "x: not found"} }), infra.ReasonImagePull},
		"a node that is gone": {pending(func(p *infra.Pod) { p.Running, p.GoneBy = &infra.Running{StartedAt: begun}, created }), infra.ReasonNodeLost},
	} {
		t.Run(name, func(t *testing.T) {
			v := infra.Classify(ref, tc.seen, by)
			require.True(t, v.Ended)
			require.Equal(t, tc.want, v.Outcome.Reason)
			if tc.seen.Pod != nil {
				require.Equal(t, "node-1", v.Outcome.Node)
			}
		})
	}
	running := pending(func(p *infra.Pod) { p.Running = &infra.Running{StartedAt: begun} })
	require.Empty(t, cmp.Diff(infra.Verdict{}, infra.Classify(ref, running, by.Add(time.Hour))), "it has started")
}

// TestWhoIsToBlameForAPull: what a registry refuses is the publisher's to mend,
// everything else may be over in a minute. The messages are those of containerd.
func TestWhoIsToBlameForAPull(t *testing.T) {
	for message, want := range map[string]infra.Reason{
		`failed to resolve reference "r.test/a@sha256:0": r.test/a@sha256:0: not found`:                                                     infra.ReasonImagePull,
		`failed to resolve reference "r.test/a": pull access denied, repository does not exist or may require authorization`:                infra.ReasonImagePull,
		`failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://r.test/token: 401 Unauthorized`:    infra.ReasonImagePull,
		`unexpected status from HEAD request to https://r.test/v2/a/manifests/x: 403 Forbidden`:                                             infra.ReasonImagePull,
		`unexpected status from HEAD request to https://r.test/v2/a/manifests/x: 503 Service Unavailable`:                                   infra.ReasonImageUnavailable,
		`unexpected status from HEAD request to https://r.test/v2/a/manifests/x: 429 Too Many Requests`:                                     infra.ReasonImageUnavailable,
		`failed to do request: Head "https://r.test/v2/a/manifests/x": dial tcp 192.0.2.1:443: connect: connection refused`:                 infra.ReasonImageUnavailable,
		`failed to do request: Head "https://r.test/v2/a/manifests/x": dial tcp: lookup r.test: no such host`:                               infra.ReasonImageUnavailable,
		`failed to copy: httpReadSeeker: failed open: unexpected status code https://r.test/v2/a/blobs/sha256:0: 500 Internal Server Error`: infra.ReasonImageUnavailable,
	} {
		seen := podThat(func(p *infra.Pod) {
			p.Phase, p.Waiting = "Pending", &infra.Waiting{Reason: "ErrImagePull", Message: message}
		})
		require.Equal(t, want, infra.Classify(ref, seen, created.Add(infra.PullGrace)).Outcome.Reason, message)
	}
}

// TestThePlatformsImageIsNobodyElsesFault: a publisher cannot mend what is wrong with
// the supervisor.
func TestThePlatformsImageIsNobodyElsesFault(t *testing.T) {
	for reason, want := range map[string]infra.Reason{
		"ErrImagePull": infra.ReasonImageUnavailable, "ImagePullBackOff": infra.ReasonImageUnavailable, "InvalidImageName": infra.ReasonImageUnavailable,
		"CreateContainerError": infra.ReasonSandboxError,
	} {
		seen := podThat(func(p *infra.Pod) {
			p.Phase, p.Waiting = "Pending", &infra.Waiting{Reason: reason, Message: "r.test/runtime: not found", Runtime: true}
		})
		v := infra.Classify(ref, seen, created.Add(infra.PullGrace))
		require.True(t, v.Ended, reason)
		require.Equal(t, want, v.Outcome.Reason, reason)
		require.Contains(t, v.Outcome.Message, "the supervisor cannot be started")
	}
}
