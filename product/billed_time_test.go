package product

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBilledTime(t *testing.T) {
	attempt := func(reason Reason, from, to time.Time) Attempt {
		return Attempt{Reason: reason, CreatedAt: now, StartedAt: from, FinishedAt: to}
	}
	milli := func(n int) time.Time { return now.Add(time.Duration(n) * time.Millisecond) }
	var never time.Time
	for _, tt := range []struct {
		name     string
		attempts []Attempt
		signaled time.Time // of the cancel; zero: none
		want     int       // seconds
	}{
		{"never attempted", nil, never, 0},
		{"whole seconds", []Attempt{attempt(ReasonOK, at(1), at(4))}, never, 3},
		{"rounded up", []Attempt{attempt(ReasonOK, at(1), milli(4001))}, never, 4},
		{"within one step of the clock", []Attempt{attempt(ReasonOK, at(1), at(1))}, never, 1},
		{"a clock that was set back", []Attempt{attempt(ReasonOK, at(4), at(1))}, never, 1},
		{"the agent failed", []Attempt{attempt("agent_error", at(0), at(2))}, never, 2},
		{"out of time", []Attempt{attempt(ReasonDeadline, at(0), at(2))}, never, 2},
		{"out of budget", []Attempt{attempt(ReasonBudgetExhausted, at(0), at(2))}, never, 2},
		{"the platform failed", []Attempt{attempt("node_lost", at(0), at(9))}, never, 0},
		{"the publisher failed", []Attempt{attempt("image_pull", never, at(9))}, never, 0},
		{"a platform failure and a success", []Attempt{
			attempt("node_lost", at(0), at(9)), attempt(ReasonOK, at(20), milli(21_500))}, never, 2},
		{"each attempt is rounded", []Attempt{
			attempt(ReasonOK, at(0), milli(100)), attempt(ReasonOK, at(20), milli(20_100))}, never, 2},
		{"never started", []Attempt{attempt(ReasonCanceled, never, at(9))}, at(5), 0},
		{"still going on", []Attempt{{Number: 1, StartedAt: at(0)}}, never, 0},
		{"an unknown reason", []Attempt{attempt("of_tomorrow", at(0), at(9))}, never, 0},

		{"canceled before the start", []Attempt{attempt(ReasonCanceled, at(5), at(9))}, at(3), 0},
		{"canceled at the start", []Attempt{attempt(ReasonCanceled, at(5), at(9))}, at(5), 0},
		{"canceled, with a long grace", []Attempt{attempt(ReasonCanceled, at(0), at(600))}, milli(2500), 3},
		{"canceled, and ended at once", []Attempt{attempt(ReasonCanceled, at(0), at(3))}, at(3), 3},
		{"ended by itself before the cancel arrived", []Attempt{attempt(ReasonOK, at(0), at(4))}, at(7), 4},
		{"ended by itself in the second of its start, then canceled", []Attempt{attempt(ReasonOK, at(1), at(1))}, at(7), 1},
		{"ended by itself after the request to cancel", []Attempt{attempt("agent_error", at(0), at(9))}, at(7), 7},
		{"canceled while it waited for the next attempt", []Attempt{attempt("evicted", at(0), at(4))}, at(7), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Run{Attempts: tt.attempts}
			if !tt.signaled.IsZero() {
				r.Cancel = &Cancel{SignaledAt: tt.signaled}
			}
			require.Equal(t, time.Duration(tt.want)*time.Second, r.BilledTime())
		})
	}
}
