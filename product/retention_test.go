package product

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// ended is a run with an attempt, an output and a log that ended at at(100).
func ended(t *testing.T, keep Retention) *Run {
	t.Helper()
	r := begun(t, 1)
	r.Plan.Retention = keep
	r.Output, r.Log = &Blob{Key: "output"}, &Blob{Key: "log"}
	require.NotNil(t, r.Settle(ReasonOK, "", at(100)))
	return r
}

func TestSettleSaysWhenDataIsDue(t *testing.T) {
	for name, tt := range map[string]struct {
		keep     Retention
		attempts int
		planless bool
		want     time.Time
	}{
		"for good":                     {want: time.Time{}, attempts: 1},
		"one":                          {keep: Retention{Log: time.Minute}, attempts: 1, want: at(160)},
		"the first of several":         {keep: Retention{Input: time.Hour, Output: time.Minute, Log: 2 * time.Minute}, attempts: 1, want: at(160)},
		"never ran, and has its input": {keep: Retention{Input: time.Hour, Log: time.Minute}, want: at(3700)},
		"never ran, and has nothing":   {keep: Retention{Output: time.Minute, Log: time.Minute}},
		"without a plan":               {keep: Retention{Input: time.Minute}, planless: true, want: at(100).Add(keptUnplanned)},
	} {
		t.Run(name, func(t *testing.T) {
			r := begun(t, tt.attempts)
			r.Plan.Retention = tt.keep
			if tt.planless {
				r.Plan = nil
			}
			require.Zero(t, r.RetentionDueAt)
			require.NotNil(t, r.Settle(ReasonPlatformError, "", at(100)))
			require.Equal(t, tt.want, r.RetentionDueAt)
			require.Nil(t, r.Settle(ReasonOK, "", at(500)))
			require.Equal(t, tt.want, r.RetentionDueAt, "the first settlement stands")
		})
	}
}

func TestRetentionDue(t *testing.T) {
	keep := Retention{Input: 10 * time.Second, Output: 20 * time.Second, Log: 20 * time.Second}
	for name, tt := range map[string]struct {
		now  time.Time
		want []Body
		next time.Time
	}{
		"before":        {at(109), nil, at(110)},
		"at the moment": {at(110), []Body{BodyInput}, at(120)},
		"late":          {at(121), []Body{BodyInput, BodyOutput, BodyLog}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			due, next := ended(t, keep).RetentionDue(tt.now)
			require.Equal(t, tt.want, due)
			require.Equal(t, tt.next, next)
		})
	}
	goesOn := begun(t, 1)
	goesOn.Plan.Retention = keep
	due, next := goesOn.RetentionDue(at(1e6))
	require.Empty(t, due)
	require.Zero(t, next)
}

func TestRemoveData(t *testing.T) {
	r := ended(t, Retention{Input: 10 * time.Second, Output: 20 * time.Second})
	due, event := r.RemoveData(at(109))
	require.Empty(t, due)
	require.Nil(t, event)

	due, event = r.RemoveData(at(111))
	require.Equal(t, []Body{BodyInput}, due)
	require.Empty(t, cmp.Diff(&Event{Type: EventDataRemoved, At: at(111), Message: "removed: input"}, event))
	require.Equal(t, at(120), r.RetentionDueAt)
	require.Zero(t, r.DataRemovedAt)
	require.NotNil(t, r.Output)
	require.True(t, r.Removed(BodyInput))
	require.False(t, r.Removed(BodyOutput))

	due, _ = r.RemoveData(at(119))
	require.Empty(t, due, "once")
	due, event = r.RemoveData(at(120))
	require.Equal(t, []Body{BodyOutput}, due)
	require.Equal(t, "removed: output", event.Message)
	require.Zero(t, r.RetentionDueAt)
	require.Equal(t, at(120), r.DataRemovedAt)
	require.Nil(t, r.Output)
	require.NotNil(t, r.Log, "is kept for good")
	for b, removed := range map[Body]bool{BodyInput: true, BodyOutput: true, BodyLog: false} {
		require.Equal(t, removed, r.Removed(b), b)
	}
	due, event = r.RemoveData(at(1000))
	require.Empty(t, due)
	require.Nil(t, event)
	require.Equal(t, at(120), r.DataRemovedAt)
}

func TestRemoveDataTakesTheWordsOfTheAgent(t *testing.T) {
	const agentError = Reason("agent_error")
	for name, tt := range map[string]struct {
		keep   Retention
		reason Reason
		want   []string // of the run, and of its attempts
	}{
		"with the output":              {Retention{Output: time.Second}, agentError, []string{"", "lost", ""}},
		"with the log":                 {Retention{Log: time.Second}, agentError, []string{"", "lost", ""}},
		"not with the input":           {Retention{Input: time.Second}, agentError, []string{"said", "lost", "said"}},
		"also what it said of success": {Retention{Output: time.Second}, ReasonOK, []string{"", "lost", ""}},
		"what others said stays":       {Retention{Output: time.Second, Log: time.Second}, ReasonCanceled, []string{"said", "lost", "said"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := begun(t, 2)
			r.Plan.Retention = tt.keep
			r.Attempts[0].Message = "lost" // the node was
			require.NotNil(t, r.AttemptEnded(2, End{Reason: tt.reason, Message: "said"}, at(60)))
			require.NotNil(t, r.Settle(tt.reason, "said", at(100)))
			due, _ := r.RemoveData(at(101))
			require.NotEmpty(t, due)
			require.Equal(t, tt.want, []string{r.Message, r.Attempts[0].Message, r.Attempts[1].Message})
		})
	}
}
