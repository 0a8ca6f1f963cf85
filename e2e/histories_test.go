package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// recordHistories names the set of histories to record: older ones stay.
const recordHistories = "AGENTMARKET_RECORD_HISTORIES"

// TestRecordHistories writes the histories that package workflows replays, when
// `make histories` asks for it. They are recorded from what is deployed, never
// from the branch that changes a workflow.
func TestRecordHistories(t *testing.T) {
	if os.Getenv(recordHistories) == "" {
		t.Skip("records fixtures, on request only: make histories SET=…")
	}
	s := Start(t, "AGENTMARKET_WEBHOOK_INSECURE=true", "AGENTMARKET_RECONCILE_SECONDS=2")
	s.record(t, "reconciled", s.workflowOf(t, "Reconcile", "Completed"))
	s.recordRuns(t)
	s.recordSchedule(t)
	s.recordWebhook(t)
	s.recordRollout(t)
}

func (s *Stack) recordRuns(t *testing.T) {
	s.registerShell(t, "exit-three", "exit 3", nil)
	s.record(t, "succeeded", s.untilEnded(t, s.startRun(t, "hello", map[string]string{"prompt": "x"}).ID, time.Minute).ID)
	s.record(t, "failed", s.untilEnded(t, s.startRun(t, "exit-three", nil).ID, time.Minute).ID)

	slow := s.startRun(t, "hello", map[string]any{"prompt": "x", "sleep_seconds": 600})
	s.untilRunning(t, slow.ID)
	require.NoError(t, s.temporal.CancelWorkflow(t.Context(), slow.ID, ""))
	s.record(t, "canceled", s.untilEnded(t, slow.ID, time.Minute).ID)

	retried := s.startRun(t, "hello", map[string]any{"prompt": "x", "sleep_seconds": 8}) // long enough to be told to run
	s.untilRunning(t, retried.ID)
	s.deletePods(t, retried.ID)
	s.record(t, "retried", s.untilEnded(t, retried.ID, time.Minute).ID)
}

func (s *Stack) recordSchedule(t *testing.T) {
	var schedule struct{ ID string }
	path := "/v1/organizations/examples/schedules"
	s.must(t, http.MethodPost, path, map[string]any{
		"name": "recorded", "agent": "examples/hello", "input": map[string]any{"prompt": "x"}, "cron": "0 0 1 1 *", "time_zone": "UTC",
	}, &schedule)
	s.must(t, http.MethodPost, path+"/"+schedule.ID+"/trigger", map[string]any{}, nil)
	s.record(t, "scheduled", s.workflowOf(t, "ScheduledStart", "Completed"))
}

func (s *Stack) recordWebhook(t *testing.T) {
	tries := 0
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer receiver.Close()
	var hook struct{ Webhook struct{ ID string } }
	path := "/v1/organizations/examples/webhooks"
	s.must(t, http.MethodPost, path, map[string]any{"url": receiver.URL, "events": []string{"run.ended"}}, &hook)
	s.must(t, http.MethodPost, path+"/"+hook.Webhook.ID+"/test", map[string]any{}, nil)
	s.record(t, "delivered", s.workflowOf(t, "DeliverWebhook", "Completed"))
}

func (s *Stack) recordRollout(t *testing.T) {
	s.registerShell(t, "exit-three", "exit 4", map[string]any{"version": "1.1.0"})
	var rollout struct{ ID string }
	path := "/v1/agents/examples/exit-three/rollouts"
	s.must(t, http.MethodPost, path, map[string]any{
		"channel": "stable", "from": "1.0.0", "version": "1.1.0", "stages": []any{map[string]any{"percent": 100, "duration_seconds": 0}},
	}, &rollout)
	s.workflowOf(t, "Rollout", "Running")
	s.must(t, http.MethodPost, path+"/"+rollout.ID+"/pause", map[string]any{}, nil)
	s.must(t, http.MethodPost, path+"/"+rollout.ID+"/resume", map[string]any{}, nil)
	s.must(t, http.MethodPost, path+"/"+rollout.ID+"/advance", map[string]any{"stage": 1}, nil)
	s.record(t, "rolled-out", s.workflowOf(t, "Rollout", "Completed"))
}

// workflowOf waits until there is a workflow of a type in a state, and returns its
// identifier.
func (s *Stack) workflowOf(t *testing.T, kind, status string) string {
	t.Helper()
	id := ""
	require.Eventually(t, func() bool {
		list, err := s.temporal.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
			Query: "WorkflowType = '" + kind + "' AND ExecutionStatus = '" + status + "'",
		})
		require.NoError(t, err)
		if len(list.GetExecutions()) == 0 {
			return false
		}
		id = list.GetExecutions()[0].GetExecution().GetWorkflowId()
		return true
	}, 2*time.Minute, 200*time.Millisecond, "a workflow %s is %s", kind, status)
	return id
}

// record writes the history of a workflow.
func (s *Stack) record(t *testing.T, name, workflowID string) {
	t.Helper()
	var history historypb.History
	events := s.temporal.GetWorkflowHistory(t.Context(), workflowID, "", true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		history.Events = append(history.Events, event)
	}
	text, err := protojson.MarshalOptions{Indent: " "}.Marshal(&history)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join("..", "workflows", "testdata", "histories", name+"-"+os.Getenv(recordHistories)+".json"), append(text, '\n'), 0o600))
}
