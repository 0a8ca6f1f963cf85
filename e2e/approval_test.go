package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

const echo = `cat "$AGENT_INPUT" > "$AGENT_OUTPUT"`

// TestApproval: a run that a person has to approve waits without a pod while the
// worker and the API are killed and started again, and then runs with the input
// that the approver has made of it.
func TestApproval(t *testing.T) {
	beside(t)
	s := Start(t)
	s.registerShell(t, "careful", echo, nil)
	approver := s.as(s.key(t, s.org, marketplace.RoleAdmin, marketplace.AllScopes()))
	approver.must(t, http.MethodPut, "/v1/organizations/examples/policy",
		map[string]any{"approval_agents": []string{"examples/careful"}}, nil)

	waiting := func(id string) {
		t.Helper()
		s.until(t, id, 30*time.Second, "it waits for an approval", func(r runView) bool { return r.Status == "waiting_approval" || r.ended() })
		require.Equal(t, "waiting_approval", s.run(t, id).Status)
		require.Empty(t, s.pods(t, id))
		require.Empty(t, s.jobs(t, id))
	}
	run, denied := s.startRun(t, "careful", map[string]any{"to": "everybody"}), s.startRun(t, "careful", nil)
	waiting(run.ID)
	waiting(denied.ID)
	s.worker.Kill()
	s.api.Kill()
	s.startAPI(t)
	waiting(run.ID)

	status, body := s.Call(t, http.MethodPost, "/v1/runs/"+run.ID+"/approve", nil, map[string]any{})
	require.Equal(t, http.StatusForbidden, status, "nobody approves a run of his own: %s", body)
	// While no worker is there to hear of it.
	approver.must(t, http.MethodPost, "/v1/runs/"+run.ID+"/approve",
		map[string]any{"note": "to us only", "input": map[string]any{"to": "us"}}, nil)
	approver.must(t, http.MethodPost, "/v1/runs/"+denied.ID+"/deny", map[string]any{"note": "no"}, nil)
	require.Empty(t, s.pods(t, run.ID))
	s.startWorker(t)

	run = s.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "succeeded", run.Status, run.Message)
	require.JSONEq(t, `{"to": "us"}`, string(run.Output))
	var record struct {
		Approval struct {
			Why, Decision, Note string
			DecidedBy           string `json:"decided_by"`
			InputEdited         bool   `json:"input_edited"`
		}
	}
	s.must(t, http.MethodGet, "/v1/runs/"+run.ID, nil, &record)
	require.Equal(t, "approved", record.Approval.Decision)
	require.Equal(t, "to us only", record.Approval.Note)
	require.NotEmpty(t, record.Approval.DecidedBy)
	require.NotEmpty(t, record.Approval.Why)
	require.True(t, record.Approval.InputEdited)

	denied = s.untilEnded(t, denied.ID, time.Minute)
	require.Equal(t, "rejected", denied.Status)
	require.Equal(t, "approval_denied", denied.Reason)
	require.Empty(t, s.jobs(t, denied.ID))
	var events struct{ Items []struct{ Type string } }
	_, text := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/events", nil, nil)
	require.NoError(t, json.Unmarshal(text, &events))
	var types []string
	for _, e := range events.Items {
		types = append(types, e.Type)
	}
	require.Equal(t, []string{"created", "planned", "approval_requested", "approved", "attempt_created", "attempt_started", "attempt_ended", "ended"}, types)
}
