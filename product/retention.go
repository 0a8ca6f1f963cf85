package product

import (
	"slices"
	"strings"
	"time"
)

// Body names a body that is kept beside the record of a run.
type Body string

// The bodies. The log is that of every attempt.
const (
	BodyInput  Body = "input"
	BodyOutput Body = "output"
	BodyLog    Body = "log"
)

// Of returns how long a body is kept; 0: for good.
func (k Retention) Of(b Body) time.Duration {
	switch b {
	case BodyInput:
		return k.Input
	case BodyOutput:
		return k.Output
	default:
		return k.Log
	}
}

// keptUnplanned is how long the input of a run is kept that ended before it had a
// plan, and so before a policy said how long: it was rejected, or canceled.
const keptUnplanned = 30 * 24 * time.Hour

// removal is when a body of a run that has ended is to be removed; zero: never. A
// run without an attempt has only an input. Every attempt may have left a log, and
// an output that the record does not name.
func (r Run) removal(b Body) time.Time {
	if !r.Status.Terminal() || b != BodyInput && len(r.Attempts) == 0 {
		return time.Time{}
	}
	keep := keptUnplanned
	if r.Plan != nil {
		keep = r.Plan.Retention.Of(b)
	}
	if keep <= 0 {
		return time.Time{}
	}
	return r.FinishedAt.Add(keep)
}

// Removed reports whether a body was removed because its time was over. It needs
// the attempts of the run.
func (r Run) Removed(b Body) bool {
	at := r.removal(b)
	return !at.IsZero() && (!r.DataRemovedAt.IsZero() || at.Before(r.RetentionDueAt))
}

// RetentionDue returns the bodies whose time is over and that are still there, and
// when the time of the next one is; zero: of none. It needs the attempts of the
// run.
func (r Run) RetentionDue(now time.Time) (due []Body, next time.Time) {
	for _, b := range []Body{BodyInput, BodyOutput, BodyLog} {
		at := r.removal(b)
		switch {
		case at.IsZero() || r.Removed(b):
		case !at.After(now):
			due = append(due, b)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return due, next
}

// RemoveData records that the bodies whose time was over at a moment are removed,
// and returns them. What the agent said of its end goes with the first of output and
// log: it is a part of both. As the methods in run.go it may run more than once.
func (r *Run) RemoveData(now time.Time) ([]Body, *Event) {
	due, next := r.RetentionDue(now)
	if len(due) == 0 {
		return nil, nil
	}
	if slices.Contains(due, BodyOutput) {
		r.Output = nil
	}
	if slices.Contains(due, BodyLog) {
		r.Log = nil
		for i := range r.Attempts {
			r.Attempts[i].Log = nil
		}
	}
	if slices.Contains(due, BodyOutput) || slices.Contains(due, BodyLog) {
		r.removeWords()
	}
	r.RetentionDueAt = next
	if next.IsZero() {
		r.DataRemovedAt = now
	}
	names := make([]string, len(due))
	for i, b := range due {
		names[i] = string(b)
	}
	return due, &Event{Type: EventDataRemoved, At: now, Message: "removed: " + strings.Join(names, ", ")}
}

// removeWords removes the messages of what ended by the agent itself, well or not:
// in them may be what it wrote. Those of the others are the platform's.
func (r *Run) removeWords() {
	if saidByAgent(r.Reason) {
		r.Message = ""
	}
	for i := range r.Attempts {
		if saidByAgent(r.Attempts[i].Reason) {
			r.Attempts[i].Message = ""
		}
	}
}

func saidByAgent(reason Reason) bool {
	cause := RuleOf(reason).Cause
	return cause == CauseAgent || cause == CauseNone
}
