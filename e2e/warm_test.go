package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestWarmStart: a pod that was made ahead serves one run, is not less hardened, and what
// the run reads, says and leaves is the same.
func TestWarmStart(t *testing.T) {
	beside(t)
	s := Start(t, WarmPods, PullNodes, KeepJobs)
	s.registerShell(t, "warm", `sleep 1; cat "$AGENT_INPUT" > /tmp/i; cmp -s /tmp/i "$AGENT_INPUT" && echo "{\"run\":\"$AGENT_RUN_ID\",\"input\":$(cat)}"`, nil)
	s.registerShell(t, "endless", `while :; do sleep 1; done`, nil)
	s.KeepWarm(t, 2)

	cold := s.untilEnded(t, s.startRun(t, "warm", map[string]any{"n": 1}).ID, time.Minute)
	require.Equal(t, "succeeded", cold.Status, "%+v", cold)
	coldPod := s.pods(t, cold.ID)[0]
	require.True(t, strings.HasPrefix(coldPod.Name, "run-"))
	ready := s.UntilWarm(t, 2)

	t.Run("the image is pulled ahead, once", func(t *testing.T) {
		var jobs []batchv1.Job
		require.Eventually(t, func() bool {
			list, err := s.Kube.BatchV1().Jobs(s.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "agentmarket.dev/pull"})
			require.NoError(t, err)
			jobs = list.Items
			return len(jobs) > 0 && jobs[0].Status.CompletionTime != nil
		}, time.Minute, 100*time.Millisecond, "its pods end by themselves")
		require.Len(t, jobs, 1)
		require.EqualValues(t, 2, jobs[0].Status.Succeeded)
		require.Equal(t, coldPod.Spec.Containers[0].Image, jobs[0].Spec.Template.Spec.Containers[0].Image)
	})

	t.Run("the pod has the isolation of any other", func(t *testing.T) {
		for _, pod := range ready {
			require.Equal(t, coldPod.Spec.SecurityContext, pod.Spec.SecurityContext)
			require.Equal(t, coldPod.Spec.Containers[0].SecurityContext, pod.Spec.Containers[0].SecurityContext)
			require.Equal(t, coldPod.Spec.Containers[0].Resources, pod.Spec.Containers[0].Resources)
			require.Equal(t, coldPod.Spec.ServiceAccountName, pod.Spec.ServiceAccountName)
			require.Equal(t, coldPod.Spec.DNSConfig, pod.Spec.DNSConfig)
			require.NotContains(t, pod.Labels, "agentmarket.dev/run-id")
		}
	})

	used := map[string]string{}
	t.Run("runs at once have a pod each", func(t *testing.T) {
		var runs []runView
		for n := range 3 {
			runs = append(runs, s.startRun(t, "warm", map[string]any{"n": n, "text": "<&> \u00e9"}))
		}
		adopted := 0
		for n, started := range runs {
			run := s.untilEnded(t, started.ID, time.Minute)
			require.Equal(t, "succeeded", run.Status, "%+v", run)
			want, err := json.Marshal(map[string]any{"run": run.ID, "input": map[string]any{"n": n, "text": "<&> \u00e9"}})
			require.NoError(t, err)
			require.JSONEq(t, string(want), string(run.Output))
			require.Len(t, run.Attempts, 1)
			pods := s.pods(t, run.ID)
			require.Len(t, pods, 1)
			require.Empty(t, used[pods[0].Name])
			used[pods[0].Name] = run.ID
			require.Len(t, s.jobs(t, run.ID), 1)
			if strings.HasPrefix(pods[0].Name, "warm-") {
				adopted++
				require.False(t, run.Attempts[0].StartedAt.Before(coldPod.CreationTimestamp.Time))
				require.NotContains(t, pods[0].Labels, "agentmarket.dev/warm")
			}
		}
		require.Positive(t, adopted)
	})

	t.Run("a pod that has had a run gets no other", func(t *testing.T) {
		for name := range used {
			for _, patch := range []string{
				`{"metadata":{"labels":{"agentmarket.dev/run-id":"run_01jd3m0f9zq4x8v5c7n2b6k1ta"}}}`,
				`{"metadata":{"labels":{"agentmarket.dev/run-id":null,"agentmarket.dev/attempt":null}}}`,
				`{"metadata":{"labels":{"agentmarket.dev/warm":"x"}}}`,
				`{"metadata":{"labels":{"agentmarket.dev/org-id":"org_01jd3m0f9zq4x8v5c7n2b6k1ta"}}}`,
			} {
				_, err := s.Kube.CoreV1().Pods(s.Namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
				require.True(t, apierrors.IsInvalid(err) || apierrors.IsForbidden(err), "%v", err)
			}
		}
	})

	t.Run("a run in such a pod is canceled like any other", func(t *testing.T) {
		first := s.startRun(t, "endless", nil)
		s.untilRunning(t, first.ID)
		s.Call(t, http.MethodPost, "/v1/runs/"+first.ID+"/cancel", nil, map[string]any{})
		var second runView
		require.Eventually(t, func() bool {
			second = s.startRun(t, "endless", nil)
			s.untilRunning(t, second.ID)
			if strings.HasPrefix(s.pods(t, second.ID)[0].Name, "warm-") {
				return true
			}
			s.Call(t, http.MethodPost, "/v1/runs/"+second.ID+"/cancel", nil, map[string]any{})
			return false
		}, time.Minute, time.Second, "a run adopts a pod")
		s.Call(t, http.MethodPost, "/v1/runs/"+second.ID+"/cancel", nil, map[string]any{})
		ended := s.untilEnded(t, second.ID, time.Minute)
		require.Equal(t, "canceled", ended.Status)
		require.Eventually(t, func() bool { return len(s.pods(t, second.ID)) == 0 && len(s.jobs(t, second.ID)) == 0 },
			30*time.Second, 100*time.Millisecond, "nothing is left of it")
	})

	t.Run("without the policy runs make their own pods", func(t *testing.T) {
		s.KeepWarm(t, 0)
		run := s.untilEnded(t, s.startRun(t, "warm", map[string]any{"n": 9}).ID, time.Minute)
		require.Equal(t, "succeeded", run.Status)
		require.True(t, strings.HasPrefix(s.pods(t, run.ID)[0].Name, "run-"))
	})
}
