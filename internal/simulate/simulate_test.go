package simulate

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/infra"
)

// notebook writes down what it is told, and fails the first report of an end.
type notebook struct {
	mu            sync.Mutex
	started, gone int
	ends          []infra.Reason
	refused       bool
}

func (n *notebook) Started(context.Context, infra.Ref, time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.started++
	return nil
}

func (n *notebook) Ended(_ context.Context, _ infra.Ref, o infra.Outcome) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.refused {
		n.refused = true
		return errors.New("not now")
	}
	n.ends = append(n.ends, o.Reason)
	return nil
}

func (n *notebook) Gone(context.Context, infra.Ref, infra.Pod, time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone++
	return nil
}

func (n *notebook) ended(reason infra.Reason) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, end := range n.ends {
		if end == reason {
			return true
		}
	}
	return false
}

func aSandbox(attempt int) infra.Sandbox {
	return infra.Sandbox{Ref: infra.Ref{Run: ids.New[ids.Run](ids.PrefixRun), Attempt: attempt, Org: "org_1"}}
}

// TestCluster: what happens is told to a watcher, again after a report that failed.
func TestCluster(t *testing.T) {
	jobs := NewJobs()
	jobs.Fails = func(s infra.Sandbox) bool { return s.Attempt == 2 }
	jobs.Duration = func(s infra.Sandbox) time.Duration {
		if s.Attempt == 3 {
			return time.Hour
		}
		return time.Millisecond
	}
	server := httptest.NewServer(jobs.Handler())
	t.Cleanup(server.Close)
	cluster := &Cluster{URL: server.URL}
	var book notebook
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go cluster.Watch(ctx, &book, slog.New(slog.DiscardHandler))

	good, bad, long := aSandbox(1), aSandbox(2), aSandbox(3)
	for _, s := range []infra.Sandbox{good, good, bad, long} {
		require.NoError(t, cluster.Create(ctx, s))
	}
	require.Eventually(t, func() bool { return book.ended(infra.ReasonOK) && book.ended(infra.ReasonAgentError) },
		10*time.Second, 10*time.Millisecond, "both ends are told")
	require.True(t, cluster.Healthy())
	require.Equal(t, 3, jobs.Created(), "the same attempt is made once")
	require.Equal(t, 1, jobs.Running())
	require.GreaterOrEqual(t, jobs.Peak("org_1"), 1)

	seen, err := cluster.Observe(ctx, long.Ref)
	require.NoError(t, err)
	require.NotNil(t, seen.Pod.Running)
	require.NoError(t, cluster.Delete(ctx, long.Ref, 0))
	seen, err = cluster.Observe(ctx, long.Ref)
	require.NoError(t, err)
	require.Equal(t, infra.Observed{}, seen)
	require.Zero(t, jobs.Running())
	require.Eventually(t, func() bool {
		book.mu.Lock()
		defer book.mu.Unlock()
		return book.gone > 0
	}, 10*time.Second, 10*time.Millisecond, "the deletion is told")
}

// TestHold: what is held runs until it is released.
func TestHold(t *testing.T) {
	jobs := NewJobs()
	jobs.Hold()
	before := aSandbox(1)
	jobs.Create(before)
	require.Never(t, func() bool { return jobs.Running() == 0 }, 300*time.Millisecond, 20*time.Millisecond)
	jobs.Release()
	jobs.Create(aSandbox(1))
	require.Eventually(t, func() bool { return jobs.Running() == 0 }, 10*time.Second, 10*time.Millisecond, "both end")
	require.Equal(t, 0, jobs.Observe(before.Ref).Pod.Terminated.ExitCode)
}
