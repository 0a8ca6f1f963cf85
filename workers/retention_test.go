package workers

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/activities"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// bodies is a record of runs and a blob store, which fail as they are told. It
// notes what is done in which order.
type bodies struct {
	runs           []product.Run
	artifacts      map[ids.Run][]ids.Artifact
	dueErr         error
	deleteErr      map[string]error // by key
	looks          int
	did            []string
	postponed      map[ids.Run]time.Time
	postponeErr    error
	stopAfterFirst context.CancelFunc
}

func (b *bodies) RetentionDue(_ context.Context, at time.Time, limit int) ([]product.Run, error) {
	b.looks++
	var due []product.Run
	for _, r := range b.runs {
		if !r.RetentionDueAt.IsZero() && !r.RetentionDueAt.After(at) && !b.postponed[r.ID].After(at) && len(due) < limit {
			due = append(due, r)
		}
	}
	return due, b.dueErr
}

func (b *bodies) DataRemoved(_ context.Context, id ids.Run, at time.Time) error {
	i := slices.IndexFunc(b.runs, func(r product.Run) bool { return r.ID == id })
	if _, event := b.runs[i].RemoveData(at); event != nil {
		b.did = append(b.did, string(id)+" "+event.Message)
	}
	return nil
}

func (b *bodies) AllArtifacts(_ context.Context, run ids.Run) (artifacts []product.Artifact, _ error) {
	for _, id := range b.artifacts[run] {
		artifacts = append(artifacts, product.Artifact{Blob: product.Blob{Key: product.ArtifactKey(run, id)}})
	}
	return artifacts, nil
}

func (b *bodies) PostponeRemoval(_ context.Context, id ids.Run, until time.Time) error {
	if b.postponeErr != nil {
		return b.postponeErr
	}
	if b.postponed == nil {
		b.postponed = map[ids.Run]time.Time{}
	}
	b.postponed[id] = until
	return nil
}

func (b *bodies) Delete(_ context.Context, key string) error {
	if b.stopAfterFirst != nil {
		b.stopAfterFirst()
	}
	if err := b.deleteErr[key]; err != nil {
		return err
	}
	b.did = append(b.did, key)
	return nil
}

// left is a run with two attempts that ended an hour ago.
func left(id ids.Run, keep product.Retention) product.Run {
	r := product.Run{
		ID: id, Status: product.StatusQueued, Plan: &product.Plan{Retention: keep},
		Output:   &product.Blob{Key: activities.OutputKey(id)},
		Log:      &product.Blob{Key: product.LogKey(id, 2)},
		Attempts: []product.Attempt{{Number: 1, Reason: "node_lost"}, {Number: 2, Reason: product.ReasonOK}},
	}
	r.Settle(product.ReasonOK, "", now.Add(-time.Hour))
	return r
}

func aRetention(b *bodies) (*Retention, *bytes.Buffer) {
	var log bytes.Buffer
	return &Retention{
		Runs: b, Blobs: b, Messages: &oldMessages{}, Interval: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), Now: func() time.Time { return now },
	}, &log
}

func TestRetentionOnce(t *testing.T) {
	const short, long = time.Minute, 24 * time.Hour
	everything := product.Retention{Input: short, Output: short, Log: short}
	away := fault.New(fault.Unavailable, "", "away")
	for _, tt := range []struct {
		name     string
		bodies   bodies
		want     []string
		warnings int
	}{
		{"nothing is due", bodies{runs: []product.Run{left("run_1", product.Retention{Log: long})}}, nil, 0},
		{"blobs first, the logs of all attempts", bodies{runs: []product.Run{left("run_1", everything)}}, []string{
			"runs/run_1/attempts/1/timed-log.txt", "runs/run_1/attempts/2/timed-log.txt", "runs/run_1/output.json", "run_1 removed: input, output, log",
		}, 0},
		{"only what is due", bodies{runs: []product.Run{left("run_1", product.Retention{Input: short, Log: long})}}, []string{"run_1 removed: input"}, 0},
		{"another key of the record", bodies{runs: []product.Run{func() product.Run {
			r := left("run_1", product.Retention{Output: short})
			r.Output.Key = "elsewhere"
			return r
		}()}}, []string{"elsewhere", "runs/run_1/output.json", "run_1 removed: output"}, 0},
		{"what was stored beside it", bodies{
			runs:      []product.Run{left("run_1", product.Retention{Output: short}), left("run_2", product.Retention{Log: long})},
			artifacts: map[ids.Run][]ids.Artifact{"run_1": {"art_1", "art_2"}, "run_2": {"art_3"}},
		}, []string{"runs/run_1/artifacts/art_1", "runs/run_1/artifacts/art_2", "runs/run_1/output.json", "run_1 removed: output"}, 0},
		{"one that fails keeps no other from being done", bodies{
			runs:      []product.Run{left("run_1", product.Retention{Output: short}), left("run_2", product.Retention{Output: short})},
			deleteErr: map[string]error{"runs/run_1/output.json": errors.New("denied")},
		}, []string{"runs/run_2/output.json", "run_2 removed: output"}, 1},
		{"one whose blob cannot be reached keeps no other from being done", bodies{
			runs:      []product.Run{left("run_1", product.Retention{Output: short}), left("run_2", product.Retention{Output: short})},
			deleteErr: map[string]error{"runs/run_1/output.json": away},
		}, []string{"runs/run_2/output.json", "run_2 removed: output"}, 1},
		{"the store is away", bodies{dueErr: away}, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, log := aRetention(&tt.bodies)
			r.once(t.Context())
			require.Equal(t, tt.want, tt.bodies.did)
			require.Equal(t, tt.warnings, bytes.Count(log.Bytes(), []byte("\n")), "%s", log)
		})
	}
}

func TestRetentionGoesOnUntilNothingIsDue(t *testing.T) {
	b := &bodies{}
	for range 2*choreBatch + 1 {
		b.runs = append(b.runs, left(ids.New[ids.Run](ids.PrefixRun), product.Retention{Input: time.Minute}))
	}
	r, _ := aRetention(b)
	r.once(t.Context())
	require.Equal(t, 3, b.looks)
	require.Len(t, b.did, 2*choreBatch+1)
}

// failing is a record of n runs, the first of which cannot be removed.
func failing(n, fail int) *bodies {
	b := &bodies{deleteErr: map[string]error{}}
	for i := range n {
		run := left(ids.New[ids.Run](ids.PrefixRun), product.Retention{Output: time.Minute})
		if i < fail {
			b.deleteErr[run.Output.Key] = fault.New(fault.Unavailable, "", "away")
		}
		b.runs = append(b.runs, run)
	}
	return b
}

// TestRetentionFailures: what cannot be removed is looked at again after an hour, and
// until then stands in nobody's way.
func TestRetentionFailures(t *testing.T) {
	t.Run("a few at the head", func(t *testing.T) {
		b := failing(2*choreBatch+1, 3)
		r, _ := aRetention(b)
		r.once(t.Context())
		require.Len(t, b.did, 2*(2*choreBatch-2))
		require.Len(t, b.postponed, 3)
		for _, until := range b.postponed {
			require.Equal(t, now.Add(time.Hour), until)
		}

		b.deleteErr = nil
		r.once(t.Context())
		require.Len(t, b.did, 2*(2*choreBatch-2), "not before the hour is over")
		r.Now = func() time.Time { return now.Add(time.Hour) }
		r.once(t.Context())
		require.Len(t, b.did, 2*(2*choreBatch+1))
	})
	t.Run("a batch of which nothing can be removed", func(t *testing.T) {
		b := failing(2*choreBatch+1, choreBatch)
		r, _ := aRetention(b)
		r.once(t.Context())
		require.Empty(t, b.did)
		require.Equal(t, 1, b.looks, "the blob store is away, it seems")
		r.once(t.Context())
		require.Len(t, b.did, 2*(choreBatch+1))
	})
	t.Run("they cannot even be postponed", func(t *testing.T) {
		b := failing(choreBatch+1, 1)
		b.postponeErr = errors.New("denied")
		r, log := aRetention(b)
		r.once(t.Context())
		require.Len(t, b.did, 2*choreBatch)
		require.Contains(t, log.String(), "denied")
	})
}

// oldMessages keeps so many messages and webhooks of runs that are due. ends is
// called when there are no webhooks any more.
type oldMessages struct {
	left, endpoints int
	before          time.Time
	err             error
	ends            context.CancelFunc
}

func (m *oldMessages) RemoveDeliveries(_ context.Context, before time.Time, limit int) (int, error) {
	m.before = before
	n := min(m.left, limit)
	m.left -= n
	return n, m.err
}

func (m *oldMessages) RemoveRunEndpoints(_ context.Context, before time.Time, limit int) (int, error) {
	if m.left > 0 {
		return 0, errors.New("there are messages left")
	}
	m.before = before
	n := min(m.endpoints, limit)
	if m.endpoints -= n; m.endpoints == 0 && m.ends != nil {
		m.ends()
	}
	return n, m.err
}

func TestOldMessagesAreRemoved(t *testing.T) {
	for name, of := range map[string]func(*oldMessages) (*int, func(context.Context, time.Time, int) (int, error)){
		"messages": func(m *oldMessages) (*int, func(context.Context, time.Time, int) (int, error)) {
			return &m.left, m.RemoveDeliveries
		},
		"webhooks of runs": func(m *oldMessages) (*int, func(context.Context, time.Time, int) (int, error)) {
			return &m.endpoints, m.RemoveRunEndpoints
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, log := aRetention(&bodies{})
			messages := &oldMessages{}
			left, remove := of(messages)
			*left = 2*choreBatch + 1
			r.old(t.Context(), remove)
			require.Zero(t, *left)
			require.Equal(t, product.DeliveryKept, r.Now().Sub(messages.before))
			require.Empty(t, log.String())

			messages.err = errors.New("away")
			r.old(t.Context(), remove)
			require.Contains(t, log.String(), "away")
		})
	}
}

// The webhooks of runs go after their messages.
func TestRetentionRemovesBoth(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, log := aRetention(&bodies{})
	messages := &oldMessages{left: 1, endpoints: 1, ends: stop}
	r.Messages = messages
	require.NoError(t, r.Run(ctx))
	require.Zero(t, messages.left)
	require.Zero(t, messages.endpoints)
	require.Empty(t, log.String())
}

// A worker that dies between the two steps leaves the run due.
func TestRetentionStopsInTheMiddle(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	b := &bodies{
		runs: []product.Run{left("run_1", product.Retention{Output: time.Minute})}, stopAfterFirst: stop,
		deleteErr: map[string]error{"runs/run_1/output.json": context.Canceled},
	}
	r, log := aRetention(b)
	require.NoError(t, r.Run(ctx))
	require.Empty(t, b.did)
	require.Empty(t, b.postponed)
	require.Empty(t, log.String(), "a worker that stops is nothing to warn of")

	b.deleteErr = nil
	r.once(t.Context())
	require.Len(t, b.did, 2)
	require.NotZero(t, b.runs[0].DataRemovedAt)
}
