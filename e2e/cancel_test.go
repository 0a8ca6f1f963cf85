package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
)

// grace is that of the agent hello.
const grace = 5 * time.Second

// TestCancel: every way to cancel leads to the same end.
func TestCancel(t *testing.T) {
	s := Start(t)
	stubborn := map[string]any{"prompt": "x", "sleep_seconds": 600, "ignore_sigterm": true}

	t.Run("through the API, an agent that ignores SIGTERM", func(t *testing.T) {
		run := s.startRun(t, "hello", stubborn)
		s.untilRunning(t, run.ID)
		asked := time.Now()
		status, body := s.Call(t, http.MethodPost, "/v1/runs/"+run.ID+"/cancel", nil, map[string]string{"reason": "enough"})
		require.Equal(t, http.StatusAccepted, status, "%s", body)
		var now runView
		require.NoError(t, json.Unmarshal(body, &now))
		require.Equal(t, "canceling", now.Status, "at once")
		require.Eventually(t, func() bool { return len(s.pods(t, run.ID)) == 0 }, time.Minute, 50*time.Millisecond, "the pod goes")
		require.Less(t, time.Since(asked), grace+3*time.Second, "within grace and three seconds")

		ended := s.untilEnded(t, run.ID, 10*time.Second)
		require.Equal(t, "canceled", ended.Status)
		require.Equal(t, "caller", ended.Cause)
		require.NotNil(t, ended.Cancel)
		require.Equal(t, "enough", ended.Cancel.Reason)
		require.NotEmpty(t, ended.Cancel.RequestedBy)
		require.NotNil(t, ended.Cancel.TerminatedAt)
		require.NotNil(t, ended.Cancel.GoneAt)
		require.Empty(t, s.jobs(t, run.ID), "no Job left")

		status, body = s.Call(t, http.MethodPost, "/v1/runs/"+run.ID+"/cancel", nil, map[string]string{})
		require.Equal(t, http.StatusConflict, status, "after the end: %s", body)
		require.Contains(t, string(body), "run_ended")
	})

	for name, cancel := range map[string]func(t *testing.T, run string){
		"by signal, as the temporal CLI sends it": func(t *testing.T, run string) {
			require.NoError(t, s.temporal.SignalWorkflow(t.Context(), run, "", "cancel", map[string]string{"reason": "by hand"}))
		},
		"by the Web UI's button": func(t *testing.T, run string) {
			require.NoError(t, s.temporal.CancelWorkflow(t.Context(), run, ""))
		},
		"by force": func(t *testing.T, run string) {
			status, body := s.Call(t, http.MethodPost, "/v1/runs/"+run+"/cancel", nil, map[string]any{"force": true})
			require.Equal(t, http.StatusAccepted, status, "%s", body)
		},
		"twice": func(t *testing.T, run string) {
			for range 2 {
				status, body := s.Call(t, http.MethodPost, "/v1/runs/"+run+"/cancel", nil, map[string]any{})
				require.Equal(t, http.StatusAccepted, status, "%s", body)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := s.startRun(t, "hello", map[string]any{"prompt": "x", "sleep_seconds": 600})
			s.untilRunning(t, run.ID)
			cancel(t, run.ID)
			ended := s.untilEnded(t, run.ID, time.Minute)
			require.Equal(t, "canceled", ended.Status, ended.Message)
			require.NotNil(t, ended.Cancel)
			require.NotNil(t, ended.Cancel.GoneAt)
			require.Empty(t, s.jobs(t, run.ID))
			require.Empty(t, s.pods(t, run.ID))
			workflow, err := s.temporal.DescribeWorkflowExecution(t.Context(), run.ID, "")
			require.NoError(t, err)
			require.Equal(t, enums.WORKFLOW_EXECUTION_STATUS_CANCELED, workflow.GetWorkflowExecutionInfo().GetStatus())
		})
	}

	t.Run("its log stays", func(t *testing.T) {
		s.registerShell(t, "talks", "echo 'said before'; sleep 600", nil)
		run := s.startRun(t, "talks", map[string]any{})
		s.untilRunning(t, run.ID)
		require.Eventually(t, func() bool {
			_, log := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/logs", nil, nil)
			return string(log) == "said before\n"
		}, time.Minute, 50*time.Millisecond, "it has said it")
		status, body := s.Call(t, http.MethodPost, "/v1/runs/"+run.ID+"/cancel", nil, map[string]any{})
		require.Equal(t, http.StatusAccepted, status, "%s", body)
		require.Equal(t, "canceled", s.untilEnded(t, run.ID, time.Minute).Status)
		require.Empty(t, s.pods(t, run.ID))
		status, log := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/logs", nil, nil)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, string(log), "said before\n")
	})

	t.Run("before the workflow could start", func(t *testing.T) {
		s.worker.Kill()
		run := s.startRun(t, "hello", stubborn)
		status, body := s.Call(t, http.MethodPost, "/v1/runs/"+run.ID+"/cancel", nil, map[string]any{})
		require.Equal(t, http.StatusAccepted, status, "%s", body)
		s.startWorker(t)
		ended := s.untilEnded(t, run.ID, time.Minute)
		require.Equal(t, "canceled", ended.Status, ended.Message)
		require.Empty(t, ended.Attempts, "nothing was made for it")
		require.Empty(t, s.jobs(t, run.ID))
	})
}
