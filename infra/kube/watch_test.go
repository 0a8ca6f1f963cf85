package kube

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/infra"
)

// toldRunning is a sink that keeps what runs.
type toldRunning struct {
	Sink
	err  error
	told []infra.Ref
}

func (s *toldRunning) Running(_ context.Context, ref infra.Ref, _ time.Time) error {
	if s.err == nil {
		s.told = append(s.told, ref)
	}
	return s.err
}

func TestRunningIsToldOfWhatLasts(t *testing.T) {
	ref := infra.Ref{Run: "run_1", Attempt: 1}
	now := time.Unix(1000, 0)
	since := func(age time.Duration) *infra.Pod {
		return &infra.Pod{Running: &infra.Running{StartedAt: now.Add(-age)}}
	}
	for name, tt := range map[string]struct {
		pod       *infra.Pod
		told      told
		err       error
		wantTold  int
		wantAgain time.Duration
	}{
		"just begun":                      {pod: since(time.Second), wantAgain: runningAfter - time.Second},
		"for a while":                     {pod: since(runningAfter), wantTold: 1},
		"for a while, told":               {pod: since(runningAfter), told: told{running: true}},
		"since before this watcher began": {pod: since(time.Hour)},
		"ended":                           {pod: &infra.Pod{}},
		"nobody takes it":                 {pod: since(runningAfter), err: fault.New(fault.Unavailable, "", "away")},
	} {
		t.Run(name, func(t *testing.T) {
			sink := &toldRunning{err: tt.err}
			w := &Watcher{sink: sink, now: func() time.Time { return now }}
			again, err := w.syncRunning(t.Context(), ref, &tt.told, tt.pod)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.wantAgain, again)
			require.Len(t, sink.told, tt.wantTold)
			settled := tt.wantAgain == 0 && tt.err == nil && tt.pod.Running != nil
			require.Equal(t, settled, tt.told.running, "it is not told again")
		})
	}
}

func TestSoonest(t *testing.T) {
	require.Equal(t, time.Second, soonest(0, time.Second))
	require.Equal(t, time.Second, soonest(time.Second, 0))
	require.Equal(t, time.Second, soonest(time.Minute, time.Second))
	require.Equal(t, time.Second, soonest(time.Second, time.Minute))
	require.Zero(t, soonest(0, 0))
}
