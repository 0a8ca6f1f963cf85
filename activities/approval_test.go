package activities

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/product"
)

// unapprovedRun is a run that has to be approved, and nobody was asked yet.
func unapprovedRun() product.Run {
	run := plannedRun()
	run.Plan.Approval = "the agent writes to production"
	return run
}

// waitingRun is a run that waits for a person.
func waitingRun() product.Run {
	run := unapprovedRun()
	run.AwaitApproval(now)
	return run
}

func decided(d product.Decision, note string) product.Run {
	run := waitingRun()
	if _, err := run.Decide(d, "usr_1", note, false, now.Add(time.Hour)); err != nil {
		panic(err)
	}
	return run
}

func TestAwaitApproval(t *testing.T) {
	deadline := now.Add(product.ApprovalTimeout)
	canceled := waitingRun()
	canceled.Cancel, canceled.Status = &product.Cancel{Reason: "enough"}, product.StatusCanceling
	over := waitingRun()
	over.Status = product.StatusExpired
	begun := running()
	begun.Plan.Approval = "why"
	for _, tt := range []struct {
		name   string
		run    product.Run
		at     time.Time
		want   ApprovalState
		kind   fault.Kind
		events []product.EventType
	}{
		{"asks", unapprovedRun(), now, ApprovalState{Deadline: deadline}, "", []product.EventType{product.EventApprovalRequested}},
		{"asks once", waitingRun(), now.Add(time.Hour), ApprovalState{Deadline: deadline}, "", nil},
		{"until the deadline", waitingRun(), deadline.Add(-time.Nanosecond), ApprovalState{Deadline: deadline}, "", nil},
		{"at the deadline", waitingRun(), deadline, ApprovalState{Deadline: deadline, Expired: true}, "", nil},
		{"approved", decided(product.DecisionApproved, "fine"), now, ApprovalState{Decision: product.DecisionApproved, Note: "fine", Deadline: deadline}, "", nil},
		{"denied", decided(product.DecisionDenied, "no"), now, ApprovalState{Decision: product.DecisionDenied, Note: "no", Deadline: deadline}, "", nil},
		{"a decision stands, however late it is found", decided(product.DecisionApproved, ""), deadline.Add(time.Hour),
			ApprovalState{Decision: product.DecisionApproved, Deadline: deadline}, "", nil},
		{"cancel requested", canceled, now, ApprovalState{CancelRequested: true}, "", nil},
		{"ended", over, now, ApprovalState{}, fault.Conflict, nil},
		{"has begun", begun, now, ApprovalState{}, fault.Conflict, nil},
		{"needs none", plannedRun(), now, ApprovalState{}, fault.Conflict, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newRuns(tt.run)
			p := aProduct(store)
			p.Now = func() time.Time { return tt.at }
			got, err := p.AwaitApproval(t.Context(), AwaitApprovalInput{RunID: runID})
			if tt.kind != "" {
				requireKind(t, err, tt.kind)
			} else {
				require.NoError(t, err)
			}
			require.Empty(t, cmp.Diff(tt.want, got))
			require.Equal(t, tt.events, store.events)
			if tt.events == nil {
				require.Empty(t, cmp.Diff(tt.run, store.byID[runID]))
			} else {
				require.Equal(t, product.StatusWaitingApproval, store.byID[runID].Status)
			}
		})
	}
	_, err := aProduct(newRuns()).AwaitApproval(t.Context(), AwaitApprovalInput{RunID: runID})
	requireKind(t, err, fault.NotFound)
}

func TestRecordDecision(t *testing.T) {
	approve := RecordDecisionInput{RunID: runID, Approve: true, By: "operator@acme", Note: "fine"}
	deny := RecordDecisionInput{RunID: runID}
	for _, tt := range []struct {
		name   string
		run    product.Run
		at     time.Time
		in     RecordDecisionInput
		want   product.Decision
		by     string
		status product.Status
		event  product.EventType
	}{
		{"approves", waitingRun(), now, approve, product.DecisionApproved, "operator@acme", product.StatusQueued, product.EventApproved},
		{"denies", waitingRun(), now, deny, product.DecisionDenied, "unknown", product.StatusWaitingApproval, product.EventDenied},
		{"the first decision stands", decided(product.DecisionDenied, "no"), now, approve, product.DecisionDenied, "usr_1", product.StatusWaitingApproval, ""},
		{"a repeat changes nothing", decided(product.DecisionApproved, ""), now, approve, product.DecisionApproved, "usr_1", product.StatusQueued, ""},
		{"too late", waitingRun(), now.Add(product.ApprovalTimeout), approve, "", "", product.StatusWaitingApproval, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newRuns(tt.run)
			p := aProduct(store)
			p.Now = func() time.Time { return tt.at }
			require.NoError(t, p.RecordDecision(t.Context(), tt.in))
			got := store.byID[runID]
			require.Equal(t, tt.want, got.Approval.Decision)
			require.Equal(t, tt.by, got.Approval.DecidedBy)
			require.Equal(t, tt.status, got.Status)
			if tt.event == "" {
				require.Empty(t, store.events)
			} else {
				require.Equal(t, []product.EventType{tt.event}, store.events)
			}
		})
	}
	t.Run("of a run that does not wait", func(t *testing.T) {
		store := newRuns(plannedRun())
		require.NoError(t, aProduct(store).RecordDecision(t.Context(), approve))
		require.Empty(t, cmp.Diff(plannedRun(), store.byID[runID]))
	})
	t.Run("of no run", func(t *testing.T) {
		requireKind(t, aProduct(newRuns()).RecordDecision(t.Context(), approve), fault.NotFound)
	})
}

// TestRecordDecisionIsBounded: a signal may carry megabytes.
func TestRecordDecisionIsBounded(t *testing.T) {
	store := newRuns(waitingRun())
	long := strings.Repeat("é", 3000)
	require.NoError(t, aProduct(store).RecordDecision(t.Context(), RecordDecisionInput{RunID: runID, By: long, Note: long}))
	got := store.byID[runID].Approval
	require.LessOrEqual(t, len(got.DecidedBy), maxDecidedBy)
	require.LessOrEqual(t, len(got.Note), product.MaxApprovalNote)
	require.True(t, strings.HasSuffix(got.Note, "é…"), "cut between letters")
}
