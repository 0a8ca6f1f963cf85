package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWorkerKilled: SIGKILL between the creation of the Job and its end, twice.
func TestWorkerKilled(t *testing.T) {
	beside(t)
	s := Start(t, KeepJobs)
	run := s.startRun(t, "hello", map[string]any{"prompt": "still here", "sleep_seconds": 8})
	require.Eventually(t, func() bool { return len(s.jobs(t, run.ID)) == 1 }, 30*time.Second, 10*time.Millisecond, "the Job is created")
	s.worker.Kill()
	s.startWorker(t)
	s.untilRunning(t, run.ID)
	s.worker.Kill() // while it waits
	s.startWorker(t)

	ended := s.untilEnded(t, run.ID, 90*time.Second)
	require.Equal(t, "succeeded", ended.Status, ended.Message)
	require.Contains(t, string(ended.Output), "still here")
	require.Len(t, ended.Attempts, 1)
	require.Len(t, s.jobs(t, run.ID), 1)

	t.Run("the end was while nobody watched", func(t *testing.T) {
		run := s.startRun(t, "hello", map[string]any{"prompt": "x", "sleep_seconds": 2})
		s.untilRunning(t, run.ID)
		s.worker.Kill()
		require.Eventually(t, func() bool {
			pods := s.pods(t, run.ID)
			return len(pods) == 1 && pods[0].Status.Phase == "Succeeded"
		}, time.Minute, 50*time.Millisecond, "the pod ends")
		s.startWorker(t)
		require.Equal(t, "succeeded", s.untilEnded(t, run.ID, time.Minute).Status)
	})
}

// TestAPIServerStopped: the cluster's API is away for 30 s during a run.
func TestAPIServerStopped(t *testing.T) {
	s := Start(t, KeepJobs)
	run := s.startRun(t, "hello", map[string]any{"prompt": "patience", "sleep_seconds": 10})
	s.untilRunning(t, run.ID)
	s.Devcluster(t, "stop-component", "--state", s.ClusterState, "kube-apiserver", "--for", "30s")
	ended := s.untilEnded(t, run.ID, 3*time.Minute)
	require.Equal(t, "succeeded", ended.Status, ended.Message)
	require.Contains(t, string(ended.Output), "patience")
	require.Len(t, ended.Attempts, 1)
	require.Len(t, s.jobs(t, run.ID), 1)
}

// TestTemporalAway: what the API accepts while Temporal is away runs when it is
// back, and what was asked to stop does not.
func TestTemporalAway(t *testing.T) {
	beside(t)
	s := Start(t)
	s.temporalServer.Kill()
	run := s.startRun(t, "hello", map[string]string{"prompt": "later"})
	unwanted := s.startRun(t, "hello", map[string]any{"prompt": "never", "sleep_seconds": 600})
	status, body := s.Call(t, "POST", "/v1/runs/"+unwanted.ID+"/cancel", nil, map[string]any{})
	require.Equal(t, 202, status, "%s", body)
	s.startTemporal(t)

	ended := s.untilEnded(t, run.ID, 2*time.Minute)
	require.Equal(t, "succeeded", ended.Status, ended.Message)
	require.Eventually(t, func() bool { return len(s.jobs(t, run.ID)) == 0 && len(s.pods(t, run.ID)) == 0 },
		30*time.Second, 50*time.Millisecond, "nothing is left of what was collected")
	canceled := s.untilEnded(t, unwanted.ID, 2*time.Minute)
	require.Equal(t, "canceled", canceled.Status, canceled.Message)
	require.Empty(t, s.jobs(t, unwanted.ID))
}
