package storetest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// going is a run whose attempts have begun; the last one goes on.
func (w world) going(t *testing.T, attempts int) product.Run {
	t.Helper()
	run := w.planned(t, product.Retention{Output: time.Hour}, "")
	for n := 1; n <= attempts; n++ {
		run = w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			ended := r.AttemptEnded(n-1, product.End{Reason: product.ReasonPlatformError}, start)
			begin, err := r.BeginAttempt(n, start)
			return []*product.Event{ended, begin}, err
		})
	}
	return run
}

// closed are the ways in which an attempt 1 of a run is closed.
var closed = map[string]func(r *product.Run) ([]*product.Event, error){
	"canceled": func(r *product.Run) ([]*product.Event, error) {
		e, err := r.RequestCancel(product.Cancel{RequestedBy: "key_1"}, start)
		return []*product.Event{e}, err
	},
	"replaced": func(r *product.Run) ([]*product.Event, error) {
		e, err := r.BeginAttempt(2, start)
		return []*product.Event{e}, err
	},
	"ended": func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.AttemptEnded(1, product.End{Reason: product.ReasonOK}, start)}, nil
	},
	"settled": func(r *product.Run) ([]*product.Event, error) {
		end := r.AttemptEnded(1, product.End{Reason: product.ReasonOK}, start)
		return []*product.Event{end, r.Settle(product.ReasonOK, "", start)}, nil
	},
}

func tells(run ids.Run, attempt int, messages ...string) product.Told {
	told := product.Told{Run: run, Attempt: attempt}
	for _, message := range messages {
		told.Events = append(told.Events, product.Event{
			Type: product.EventAgentNote, At: after(time.Second), Message: message, Data: json.RawMessage(`{"a": "\u0000"}`),
		})
	}
	return told
}

var sessionTests = []testCase{
	{"events of many runs get numbers without gaps", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		one, two := w.going(t, 1), w.going(t, 2)
		ended := w.left(t, product.Retention{}, start)
		errs := s.Sessions.TellEvents(t.Context(), []product.Told{
			tells(two.ID, 2, "a"), tells(one.ID, 1, "b", "c"), tells(ended.ID, 1, "d"), tells(two.ID, 1, "e"), tells(one.ID, 1, "f"), tells("run_none", 1, "g"),
		})
		require.Len(t, errs, 6)
		for i, err := range errs {
			if i == 2 || i == 3 || i == 5 {
				requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
				continue
			}
			require.NoError(t, err)
		}
		log, err := s.Runs.Events(t.Context(), one.ID, 0, 0)
		require.NoError(t, err)
		var messages []string
		for i, e := range log {
			require.EqualValues(t, i+1, e.Seq)
			if e.Type == product.EventAgentNote {
				messages = append(messages, e.Message)
				require.Equal(t, 1, e.Attempt)
				require.JSONEq(t, `{"a": "\u0000"}`, string(e.Data))
			}
		}
		require.Equal(t, []string{"b", "c", "f"}, messages)
		require.Equal(t, "a", w.lastEvent(t, two.ID).Message)
		// The record goes on behind them.
		w.update(t, one.ID, closed["canceled"])
		require.EqualValues(t, len(log)+1, w.lastEvent(t, one.ID).Seq)
	}},
	{"whoever tells at the same time, nothing is lost", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		runs := []product.Run{w.going(t, 1), w.going(t, 1), w.going(t, 1)}
		before := w.lastEvent(t, runs[0].ID).Seq
		var group sync.WaitGroup
		errs := make([][]error, 8)
		for i := range errs {
			group.Go(func() {
				var told []product.Told
				for j := range runs { // in another order each
					told = append(told, tells(runs[(i+j)%len(runs)].ID, 1, fmt.Sprint(i)))
				}
				errs[i] = s.Sessions.TellEvents(t.Context(), told)
			})
		}
		group.Wait()
		for _, of := range errs {
			for _, err := range of {
				require.NoError(t, err)
			}
		}
		for _, run := range runs {
			require.Equal(t, before+8, w.lastEvent(t, run.ID).Seq)
		}
	}},
	{"a run has so many events", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		most := product.Told{Run: run.ID, Attempt: 1}
		for range product.MaxRunEvents {
			most.Events = append(most.Events, product.Event{Type: product.EventAgentNote, At: start})
		}
		requireFault(t, s.Sessions.TellEvents(t.Context(), []product.Told{most})[0], fault.RateLimited, "too_many_events")
		require.NoError(t, s.Sessions.TellEvents(t.Context(), []product.Told{tells(run.ID, 1, "fits")})[0])
	}},
	{"what is closed takes nothing", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		for name, change := range closed {
			run := w.going(t, 1)
			artifact := artifactOf(run, "a")
			require.NoError(t, s.Sessions.BeginArtifact(t.Context(), artifact), name)
			w.update(t, run.ID, change)
			for _, err := range []error{
				s.Sessions.TellEvents(t.Context(), []product.Told{tells(run.ID, 1, "late")})[0],
				s.Sessions.ReportEnd(t.Context(), run.ID, 1, json.RawMessage(`{}`), start),
				s.Sessions.BeginArtifact(t.Context(), artifactOf(run, "b")),
				finish(t, s, artifact),
			} {
				requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
			}
		}
	}},
	{"the end of what began is told late", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		late := func(run ids.Run, attempt int) error {
			told := product.Told{Run: run, Attempt: attempt, Late: true, Events: []product.Event{{
				Type: product.EventEgressEnded, At: after(time.Second), Message: "host", Data: json.RawMessage(`{"n":1}`),
			}}}
			return s.Sessions.TellEvents(t.Context(), []product.Told{told})[0]
		}
		for name, change := range closed {
			run := w.going(t, 1)
			w.update(t, run.ID, change)
			require.NoError(t, late(run.ID, 1), name)
			last := w.lastEvent(t, run.ID)
			require.Equal(t, []any{product.EventEgressEnded, 1, "host", `{"n":1}`}, []any{last.Type, last.Attempt, last.Message, string(last.Data)}, name)
			requireFault(t, late(run.ID, 3), fault.Conflict, product.CodeSessionClosed)
		}
		requireFault(t, late("run_none", 1), fault.Conflict, product.CodeSessionClosed)
		full := w.going(t, 1)
		for left := product.MaxRunEvents - w.lastEvent(t, full.ID).Seq; left > 0; {
			some := product.Told{Run: full.ID, Attempt: 1, Events: make([]product.Event, min(left, 1000))}
			for i := range some.Events {
				some.Events[i] = product.Event{Type: product.EventAgentNote, At: start}
			}
			require.NoError(t, s.Sessions.TellEvents(t.Context(), []product.Told{some})[0])
			left -= int64(len(some.Events))
		}
		requireFault(t, s.Sessions.TellEvents(t.Context(), []product.Told{tells(full.ID, 1, "more")})[0], fault.RateLimited, "too_many_events")
		require.NoError(t, late(full.ID, 1))
		removed := w.going(t, 1)
		w.update(t, removed.ID, closed["settled"])
		require.NoError(t, w.Bodies.DataRemoved(t.Context(), removed.ID, after(2*time.Hour)))
		requireFault(t, late(removed.ID, 1), fault.Conflict, product.CodeSessionClosed)
	}},
	{"attempts that may act are found", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		one, two, reported := w.going(t, 1), w.going(t, 2), w.going(t, 1)
		require.NoError(t, s.Sessions.ReportEnd(t.Context(), reported.ID, 1, json.RawMessage(`{}`), start))
		asked := []ids.Run{one.ID, two.ID, reported.ID, "run_none"}
		want := map[ids.Run]int{one.ID: 1, two.ID: 2}
		for name, change := range closed {
			run := w.going(t, 1)
			w.update(t, run.ID, change)
			asked = append(asked, run.ID)
			if name == "replaced" {
				want[run.ID] = 2
			}
		}
		found, err := s.Sessions.OpenAttempts(t.Context(), asked)
		require.NoError(t, err)
		require.Equal(t, want, found)
	}},
	{"a report closes the attempt, and may be repeated", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		_, err := s.Sessions.Report(t.Context(), run.ID, 1)
		requireFault(t, err, fault.NotFound, "")
		report := json.RawMessage(`{"a": "\u0000"}`)
		for range 2 {
			require.NoError(t, s.Sessions.ReportEnd(t.Context(), run.ID, 1, report, after(time.Second)))
		}
		requireFault(t, s.Sessions.ReportEnd(t.Context(), run.ID, 1, json.RawMessage(`{}`), start), fault.Conflict, product.CodeSessionClosed)
		kept, err := s.Sessions.Report(t.Context(), run.ID, 1)
		require.NoError(t, err)
		require.Equal(t, string(report), string(kept))
		requireFault(t, s.Sessions.TellEvents(t.Context(), []product.Told{tells(run.ID, 1, "late")})[0], fault.Conflict, product.CodeSessionClosed)
		got, err := s.Runs.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, stored(after(time.Second)), got.Attempts[0].ReportedAt)
		// Its end is recorded as any other.
		w.update(t, run.ID, closed["settled"])
	}},
	{"what was said goes with the output", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		require.NoError(t, s.Sessions.TellEvents(t.Context(), []product.Told{tells(run.ID, 1, "secret")})[0])
		require.NoError(t, s.Sessions.BeginArtifact(t.Context(), artifactOf(run, "a")))
		require.NoError(t, s.Sessions.ReportEnd(t.Context(), run.ID, 1, json.RawMessage(`{}`), start))
		w.update(t, run.ID, closed["settled"])
		require.NoError(t, w.Bodies.DataRemoved(t.Context(), run.ID, after(2*time.Hour)))
		_, err := s.Sessions.Report(t.Context(), run.ID, 1)
		requireFault(t, err, fault.NotFound, "")
		left, err := s.Sessions.AllArtifacts(t.Context(), run.ID)
		require.NoError(t, err)
		require.Empty(t, left)
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		for _, e := range log {
			require.NotEqual(t, "secret", e.Message)
			require.Nil(t, e.Data)
		}
	}},
}

// fillSessions uses every method of sessions.
func (w world) fillSessions(t *testing.T) {
	t.Helper()
	run := w.going(t, 1)
	for range 2 {
		require.NoError(t, w.Sessions.TellEvents(t.Context(), []product.Told{tells(run.ID, 1, "a")})[0])
		artifact := artifactOf(run, "a")
		require.NoError(t, w.Sessions.BeginArtifact(t.Context(), artifact))
		require.NoError(t, finish(t, w.Stores, artifact))
	}
	_, err := w.Sessions.OpenAttempts(t.Context(), []ids.Run{run.ID})
	require.NoError(t, err)
	_, err = w.Sessions.Artifacts(t.Context(), run.ID)
	require.NoError(t, err)
	_, err = w.Sessions.AllArtifacts(t.Context(), run.ID)
	require.NoError(t, err)
	require.NoError(t, w.Sessions.ReportEnd(t.Context(), run.ID, 1, json.RawMessage(`{}`), start))
	_, err = w.Sessions.Report(t.Context(), run.ID, 1)
	require.NoError(t, err)
	w.update(t, run.ID, closed["settled"])
	require.NoError(t, w.Bodies.DataRemoved(t.Context(), run.ID, after(2*time.Hour)))
	kept := w.going(t, 1) // rows stay in every table
	require.NoError(t, w.Sessions.BeginArtifact(t.Context(), artifactOf(kept, "a")))
	require.NoError(t, w.Sessions.ReportEnd(t.Context(), kept.ID, 1, json.RawMessage(`{}`), start))
}
