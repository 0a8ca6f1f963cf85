package kube

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes/fake"

	"agentmarket/fault"
	"agentmarket/infra"
)

// observed is an observer that sees this.
type observed struct {
	seen infra.Observed
	err  error
}

func (o observed) Observe(context.Context, infra.Ref) (infra.Observed, error) { return o.seen, o.err }

// toldEnded is a sink that keeps what ended.
type toldEnded struct {
	Sink
	reasons []infra.Reason
}

func (s *toldEnded) Ended(_ context.Context, _ infra.Ref, o infra.Outcome) error {
	s.reasons = append(s.reasons, o.Reason)
	return nil
}

// TestExpectedPods: a Job that makes no pod is not waited for.
func TestExpectedPods(t *testing.T) {
	ref := infra.Ref{Run: "run_01jd3m0f9zq4x8v5c7n2b6k1ta", Attempt: 1}
	now := time.Unix(1000, 0)
	late, early := now, now.Add(10*time.Second)
	for name, tt := range map[string]struct {
		observer observed
		want     []infra.Reason
		again    time.Duration
		kept     bool
	}{
		"no pod in time":   {observer: observed{seen: infra.Observed{JobExists: true, StartBy: late}}, want: []infra.Reason{infra.ReasonUnschedulable}},
		"still some time":  {observer: observed{seen: infra.Observed{JobExists: true, StartBy: early}}, again: 10 * time.Second, kept: true},
		"a pod unseen":     {observer: observed{seen: infra.Observed{JobExists: true, Pod: &infra.Pod{Running: &infra.Running{}}}}},
		"nothing any more": {want: []infra.Reason{infra.ReasonPodGone}},
		"no answer":        {observer: observed{err: fault.New(fault.Unavailable, "", "away")}, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			sink := &toldEnded{}
			w, err := NewWatcher(fake.NewClientset(), Config{}.WithDefaults(), tt.observer, sink, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			w.now = func() time.Time { return now }
			w.Expect(ref, now)
			require.Eventually(t, func() bool { return w.queue.Len() == 1 }, 5*time.Second, time.Millisecond, "it is looked at")
			key, _ := w.queue.Get()
			again, err := w.sync(t.Context(), key)
			require.ErrorIs(t, err, tt.observer.err)
			require.Equal(t, tt.again, again)
			require.Equal(t, tt.want, sink.reasons)
			require.Equal(t, tt.kept, len(w.expected) == 1)
			again, err = w.sync(t.Context(), "an attempt that nobody expects")
			require.NoError(t, err)
			require.Zero(t, again)
		})
	}
}
