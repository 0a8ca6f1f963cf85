package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

var createRunTests = []testCase{
	{"what is created is found", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		want := w.queued(start)
		want.UserID, want.Request.MaxCost = "usr_caller", money.Of(2_500_000, "USD")
		input := []byte("{\"z\": 1.0,\n \"a\": \"\\u0000\"}") // byte for byte, not as JSON
		run, created, err := s.Runs.CreateRun(t.Context(), want, input, nil)
		require.NoError(t, err)
		require.True(t, created)
		want.InputSize = int64(len(input))
		want.CreatedAt, want.QueueDeadline = stored(want.CreatedAt), stored(want.QueueDeadline)
		requireSame(t, want, run)

		run, err = s.Runs.Run(t.Context(), want.ID)
		require.NoError(t, err)
		requireSame(t, want, run)
		got, err := s.Runs.Input(t.Context(), want.ID)
		require.NoError(t, err)
		require.Equal(t, input, got)
		events, err := s.Runs.Events(t.Context(), want.ID, 0, 0)
		require.NoError(t, err)
		require.Len(t, events, 1)
		require.Equal(t, product.EventCreated, events[0].Type)
		require.Equal(t, want.CreatedAt, events[0].At)
		require.EqualValues(t, 1, events[0].Seq)
	}},
	{"a run without anything optional", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		r := w.queued(start)
		r.Labels, r.Request, r.KeyID, r.QueueDeadline = nil, product.Request{}, "", time.Time{}
		run, _, err := s.Runs.CreateRun(t.Context(), r, nil, nil)
		require.NoError(t, err)
		r.CreatedAt = stored(r.CreatedAt)
		requireSame(t, r, run)
		input, err := s.Runs.Input(t.Context(), r.ID)
		require.NoError(t, err)
		require.Empty(t, input)
	}},
	{"a key makes one run, whoever comes first", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		const callers, keys = 50, 10
		var created atomic.Int32
		var mu sync.Mutex
		byKey := map[string]map[ids.Run]bool{}
		var failures []error
		together(callers, func(i int) {
			key := &product.IdempotencyKey{Key: fmt.Sprint("key-", i%keys), Fingerprint: "same"}
			run, first, err := s.Runs.CreateRun(t.Context(), w.queued(start), []byte("{}"), key)
			if first {
				created.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				return
			}
			if byKey[key.Key] == nil {
				byKey[key.Key] = map[ids.Run]bool{}
			}
			byKey[key.Key][run.ID] = true
		})
		require.Empty(t, failures)
		require.EqualValues(t, keys, created.Load())
		require.Len(t, byKey, keys)
		for key, runs := range byKey {
			require.Len(t, runs, 1, "runs of %s", key)
		}
		list, err := s.Runs.Runs(t.Context(), w.org.ID, product.RunQuery{})
		require.NoError(t, err)
		require.Len(t, list, keys)
	}},
	{"50 writers at once all get through", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		var mu sync.Mutex
		var failures []error
		together(50, func(int) {
			run, _, err := s.Runs.CreateRun(t.Context(), w.queued(start), []byte("{}"), nil)
			for range 5 {
				if err == nil {
					_, err = s.Runs.UpdateRun(t.Context(), run.ID, func(*product.Run) ([]*product.Event, error) {
						return []*product.Event{{Type: product.EventPlanned, At: start}}, nil
					})
				}
			}
			if err != nil {
				mu.Lock()
				failures = append(failures, err)
				mu.Unlock()
			}
		})
		require.Empty(t, failures)
	}},
	{"a key with another request is refused, and belongs to its organization", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		key := &product.IdempotencyKey{Key: "k", Fingerprint: "one"}
		first, created, err := s.Runs.CreateRun(t.Context(), w.queued(start), []byte("{}"), key)
		require.NoError(t, err)
		require.True(t, created)

		refused := w.queued(start)
		_, _, err = s.Runs.CreateRun(t.Context(), refused, []byte("{}"), &product.IdempotencyKey{Key: "k", Fingerprint: "two"})
		requireFault(t, err, fault.Invalid, "idempotency_key_reused")
		_, err = s.Runs.Run(t.Context(), refused.ID)
		requireFault(t, err, fault.NotFound, "run_not_found")

		w.org = anOrganization(t, s, "other")
		second, created, err := s.Runs.CreateRun(t.Context(), w.queued(start), []byte("{}"), key)
		require.NoError(t, err)
		require.True(t, created)
		require.NotEqual(t, first.ID, second.ID)
	}},
	{"a repeat returns the run as it is now", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		key := &product.IdempotencyKey{Key: "k", Fingerprint: "one"}
		first, _, err := s.Runs.CreateRun(t.Context(), w.queued(start), []byte("{}"), key)
		require.NoError(t, err)
		now := w.update(t, first.ID, func(r *product.Run) ([]*product.Event, error) {
			e, err := r.BeginAttempt(1, after(time.Second))
			return []*product.Event{e}, err
		})
		again, created, err := s.Runs.CreateRun(t.Context(), w.queued(after(time.Hour)), []byte("{}"), key)
		require.NoError(t, err)
		require.False(t, created)
		requireSame(t, now, again)
	}},
	{"a run that fails to be stored leaves no key", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		key := &product.IdempotencyKey{Key: "k", Fingerprint: "one"}
		bad := w.queued(start)
		bad.VersionID = "ver_none"
		_, _, err := s.Runs.CreateRun(t.Context(), bad, nil, key)
		requireFault(t, err, fault.NotFound, "")
		_, created, err := s.Runs.CreateRun(t.Context(), w.queued(start), nil, key)
		require.NoError(t, err)
		require.True(t, created)
	}},
	{"only a queued run can be new", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		r := w.queued(start)
		r.Status = product.StatusRunning
		_, _, err := s.Runs.CreateRun(t.Context(), r, nil, nil)
		require.Error(t, err)
	}},
	{"what does not exist is not found", func(t *testing.T, s Stores) {
		_, err := s.Runs.Run(t.Context(), "run_none")
		requireFault(t, err, fault.NotFound, "run_not_found")
		_, err = s.Runs.Input(t.Context(), "run_none")
		requireFault(t, err, fault.NotFound, "run_not_found")
		_, err = s.Runs.UpdateRun(t.Context(), "run_none", func(*product.Run) ([]*product.Event, error) { return nil, nil })
		requireFault(t, err, fault.NotFound, "run_not_found")
		events, err := s.Runs.Events(t.Context(), "run_none", 0, 10)
		require.NoError(t, err)
		require.Empty(t, events)
	}},
}

var listRunTests = []testCase{
	{"filters", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		other, _ := publish(t, s, w.org, "painter", "1.0.0", start)
		stranger := w
		stranger.org = anOrganization(t, s, "stranger")
		stranger.create(t, stranger.queued(start))

		create := func(i int, agent string, labels map[string]string) product.Run {
			r := w.queued(after(time.Duration(i) * time.Minute))
			r.Agent, r.Labels = agent, labels
			return w.create(t, r)
		}
		reviewer := w.agent.FullName()
		r0 := create(0, reviewer, map[string]string{"team": "blue", "env": "test"})
		r1 := create(1, other.FullName(), map[string]string{"team": "blue"})
		r2 := create(2, reviewer, map[string]string{"team": "red", "a.b/c": `" \ $`, "empty": ""})
		r3 := create(3, reviewer, nil)
		w.settle(t, r0.ID, product.ReasonNotEntitled, after(time.Hour))
		w.cancel(t, r1.ID, after(time.Hour))

		for name, c := range map[string]struct {
			query product.RunQuery
			want  []ids.Run
		}{
			"everything":   {product.RunQuery{}, []ids.Run{r3.ID, r2.ID, r1.ID, r0.ID}},
			"limit":        {product.RunQuery{Limit: 2}, []ids.Run{r3.ID, r2.ID}},
			"one status":   {product.RunQuery{Statuses: []product.Status{product.StatusQueued}}, []ids.Run{r3.ID, r2.ID}},
			"two statuses": {product.RunQuery{Statuses: []product.Status{product.StatusRejected, product.StatusCanceling}}, []ids.Run{r1.ID, r0.ID}},
			"agent":        {product.RunQuery{Agent: other.FullName()}, []ids.Run{r1.ID}},
			"after":        {product.RunQuery{CreatedAfter: r1.CreatedAt}, []ids.Run{r3.ID, r2.ID}},
			"before":       {product.RunQuery{CreatedBefore: r1.CreatedAt}, []ids.Run{r0.ID}},
			"between":      {product.RunQuery{CreatedAfter: r0.CreatedAt, CreatedBefore: r3.CreatedAt}, []ids.Run{r2.ID, r1.ID}},
			"label":        {product.RunQuery{Labels: map[string]string{"team": "blue"}}, []ids.Run{r1.ID, r0.ID}},
			"two labels":   {product.RunQuery{Labels: map[string]string{"team": "blue", "env": "test"}}, []ids.Run{r0.ID}},
			"odd label":    {product.RunQuery{Labels: map[string]string{"a.b/c": `" \ $`}}, []ids.Run{r2.ID}},
			"empty label":  {product.RunQuery{Labels: map[string]string{"empty": ""}}, []ids.Run{r2.ID}},
			"other value":  {product.RunQuery{Labels: map[string]string{"team": "Blue"}}, nil},
			"cursor":       {product.RunQuery{Before: r2.ID}, []ids.Run{r1.ID, r0.ID}},
			"all of them": {product.RunQuery{
				Statuses: []product.Status{product.StatusCanceling}, Agent: other.FullName(), CreatedAfter: r0.CreatedAt,
				CreatedBefore: r2.CreatedAt, Labels: map[string]string{"team": "blue"}, Before: r3.ID, Limit: 5,
			}, []ids.Run{r1.ID}},
		} {
			t.Run(name, func(t *testing.T) {
				runs, err := s.Runs.Runs(t.Context(), w.org.ID, c.query)
				require.NoError(t, err)
				require.Equal(t, c.want, runIDs(runs))
			})
		}
	}},
	{"pages stay the same while runs are created", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		var want []ids.Run
		for i := range 7 {
			r := w.create(t, w.queued(after(time.Duration(i)*time.Second)))
			want = append([]ids.Run{r.ID}, want...)
		}
		var got []ids.Run
		var before ids.Run
		for {
			page, err := s.Runs.Runs(t.Context(), w.org.ID, product.RunQuery{Before: before, Limit: 3})
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			got = append(got, runIDs(page)...)
			before = page[len(page)-1].ID
			w.create(t, w.queued(after(time.Hour)))
		}
		require.Equal(t, want, got)
	}},
	{"runs come without attempts, but with everything else", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		run = w.update(t, run.ID, fillIn)
		list, err := s.Runs.Runs(t.Context(), w.org.ID, product.RunQuery{})
		require.NoError(t, err)
		require.Len(t, list, 1)
		run.Attempts = nil
		requireSame(t, run, list[0])
	}},
	{"events are listed by pages, oldest first", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.create(t, w.queued(start))
		w.update(t, run.ID, func(*product.Run) ([]*product.Event, error) {
			var events []*product.Event
			for i := range 6 {
				events = append(events, &product.Event{Type: product.EventPlanned, At: after(time.Duration(i) * time.Second), Attempt: i, Message: fmt.Sprint(i)}, nil)
			}
			return events, nil
		})
		var got []int64
		var last int64
		for {
			page, err := s.Runs.Events(t.Context(), run.ID, last, 3)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				require.Equal(t, run.ID, e.RunID)
				got = append(got, e.Seq)
			}
			last = page[len(page)-1].Seq
		}
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7}, got)
	}},
}
