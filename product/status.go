package product

import (
	"slices"

	"agentmarket/fault"
)

// Status is the state of a run. The set may grow; clients must tolerate values
// that they do not know.
type Status string

// The states, see doc.go for the drawing.
const (
	StatusQueued          Status = "queued"
	StatusWaitingApproval Status = "waiting_approval"
	StatusStarting        Status = "starting"
	StatusRunning         Status = "running"
	StatusCanceling       Status = "canceling"
	StatusSucceeded       Status = "succeeded"
	StatusFailed          Status = "failed"
	StatusTimedOut        Status = "timed_out"
	StatusBudgetExhausted Status = "budget_exhausted"
	StatusCanceled        Status = "canceled"
	StatusRejected        Status = "rejected"
	StatusExpired         Status = "expired"

	// StatusWaitingInput is how a run is shown whose agent waits for a person, see
	// [Run.Shown]. No run is stored with it.
	StatusWaitingInput Status = "waiting_input"
)

// next lists the states that may follow each state. starting follows running
// when an attempt failed by the platform and the next one begins.
var next = map[Status][]Status{
	StatusQueued:          {StatusStarting, StatusWaitingApproval, StatusCanceling, StatusCanceled, StatusRejected, StatusExpired, StatusFailed},
	StatusWaitingApproval: {StatusQueued, StatusCanceling, StatusCanceled, StatusRejected, StatusExpired, StatusFailed},
	StatusStarting: {StatusRunning, StatusCanceling,
		StatusSucceeded, StatusFailed, StatusTimedOut, StatusBudgetExhausted, StatusCanceled},
	StatusRunning: {StatusStarting, StatusCanceling,
		StatusSucceeded, StatusFailed, StatusTimedOut, StatusBudgetExhausted, StatusCanceled},
	// An agent that ended by itself before the cancel reached it keeps its own
	// end: what happened is what is told.
	StatusCanceling: {StatusCanceled,
		StatusSucceeded, StatusFailed, StatusTimedOut, StatusBudgetExhausted, StatusRejected, StatusExpired},
	StatusSucceeded: nil, StatusFailed: nil, StatusTimedOut: nil, StatusBudgetExhausted: nil,
	StatusCanceled: nil, StatusRejected: nil, StatusExpired: nil,
}

// Statuses returns every state that is stored.
func Statuses() []Status {
	return []Status{StatusQueued, StatusWaitingApproval, StatusStarting, StatusRunning, StatusCanceling, StatusSucceeded,
		StatusFailed, StatusTimedOut, StatusBudgetExhausted, StatusCanceled, StatusRejected, StatusExpired}
}

// Terminal reports whether a run in this state has ended for good.
func (s Status) Terminal() bool {
	following, known := next[s]
	return known && len(following) == 0
}

// mayBecome returns fault.Conflict unless the state may follow this one.
func (s Status) mayBecome(to Status) error {
	if slices.Contains(next[s], to) {
		return nil
	}
	return fault.Newf(fault.Conflict, "run_state", "a run that is %s cannot become %s", s, to)
}
