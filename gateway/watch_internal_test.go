package gateway

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/infra"
)

// TestWatch: each session ends when the record says so, or when nobody can say.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		open, asked, away := map[ids.Run]int{"run_1": 1, "run_2": 2}, 0, error(nil)
		w := newWatch(func(_ context.Context, runs []ids.Run) (map[ids.Run]int, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			require.LessOrEqual(t, len(runs), 2, "each run once")
			return maps.Clone(open), away
		}, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		go w.run(ctx)
		defer stop()
		over := func(ended <-chan struct{}) bool {
			synctest.Wait()
			select {
			case <-ended:
				return true
			default:
				return false
			}
		}

		<-time.After(10 * watchEvery)
		mu.Lock()
		require.Zero(t, asked, "nobody waits")
		mu.Unlock()
		one, _ := w.add(infra.Ref{Run: "run_1", Attempt: 1})
		again, done := w.add(infra.Ref{Run: "run_1", Attempt: 1})
		replaced, _ := w.add(infra.Ref{Run: "run_2", Attempt: 1})
		two, doneTwo := w.add(infra.Ref{Run: "run_2", Attempt: 2})
		<-time.After(watchEvery)
		require.True(t, over(replaced))
		require.False(t, over(one))
		require.False(t, over(two))
		done()
		mu.Lock()
		delete(open, "run_1")
		mu.Unlock()
		<-time.After(watchEvery)
		require.True(t, over(one))
		require.True(t, over(again), "it is the same session")
		require.False(t, over(two))

		mu.Lock()
		away = errors.New("the database is away")
		mu.Unlock()
		<-time.After(watchBlind - 2*watchEvery)
		require.False(t, over(two))
		<-time.After(3 * watchEvery)
		require.True(t, over(two))
		doneTwo()
		require.Empty(t, w.sessions)
	})
}
