package product

import (
	"time"

	"agentmarket/fault"
)

// Approval is a run's need to be approved by a person, and her decision.
type Approval struct {
	Why         string // for people
	RequestedAt time.Time
	Deadline    time.Time // after it the run expires

	Decision  Decision // empty: none yet
	DecidedBy string   // identifier of the person, the key, or the name of an operator's tool
	Note      string
	DecidedAt time.Time
	// InputEdited says that the approver changed the input; what the caller sent
	// stays on the record.
	InputEdited bool
}

// Decision is what became of an approval.
type Decision string

// The decisions.
const (
	DecisionApproved Decision = "approved"
	DecisionDenied   Decision = "denied"
)

// ApprovalTimeout is how long a run waits for a person.
const ApprovalTimeout = 7 * 24 * time.Hour

// MaxApprovalNote bounds what an approver writes, in bytes.
const MaxApprovalNote = 2000

// AwaitApproval makes the run wait for a person, as its plan says. A second call
// changes nothing.
func (r *Run) AwaitApproval(now time.Time) *Event {
	if r.Plan == nil || r.Plan.Approval == "" || r.Approval != nil || r.Status != StatusQueued {
		return nil
	}
	r.Status = StatusWaitingApproval
	r.Approval = &Approval{Why: r.Plan.Approval, RequestedAt: now, Deadline: now.Add(ApprovalTimeout)}
	return &Event{Type: EventApprovalRequested, At: now, Message: r.Plan.Approval}
}

// Decide records the decision about a run that waits for one. Its time in the
// queue begins with it. A run that does not wait is fault.Conflict with the code
// not_waiting; the same decision again changes nothing. Whether an input that comes
// again is the same, the store knows: see [RunBodies].
func (r *Run) Decide(d Decision, by, note string, inputEdited bool, now time.Time) (*Event, error) {
	switch {
	case r.Approval != nil && r.Approval.Decision == d && !inputEdited:
		return nil, nil //nolint:nilnil // nothing is to be stored
	case r.Status != StatusWaitingApproval || r.Approval == nil || r.Approval.Decision != "" || !now.Before(r.Approval.Deadline):
		return nil, fault.Newf(fault.Conflict, "not_waiting", "the run does not wait for an approval: %s", r.Status)
	}
	a := r.Approval
	a.Decision, a.DecidedBy, a.Note, a.DecidedAt, a.InputEdited = d, by, note, now, inputEdited
	if d == DecisionDenied {
		return &Event{Type: EventDenied, At: now, Message: note}, nil
	}
	if !r.QueueDeadline.IsZero() {
		r.QueueDeadline = r.QueueDeadline.Add(now.Sub(a.RequestedAt))
	}
	r.Status = StatusQueued
	return &Event{Type: EventApproved, At: now, Message: note}, nil
}
