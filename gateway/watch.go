package gateway

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"agentmarket/ids"
	"agentmarket/infra"
)

const (
	// watchEvery is how soon the end of a session is noticed that has something open.
	watchEvery = time.Second
	// watchBlind is how long sessions go on of which nobody can say whether they ended.
	watchBlind = 30 * time.Second
)

// watch says when sessions end that have something open for longer than a call: a canceled
// run, an attempt that was replaced or has ended, whichever replica learned of it. All of
// them are asked for at once.
type watch struct {
	find func(context.Context, []ids.Run) (map[ids.Run]int, error)
	log  *slog.Logger

	mu       sync.Mutex
	sessions map[sessionKey]*watched
}

type sessionKey struct {
	run     ids.Run
	attempt int
}

// watched is a session and how many wait for its end.
type watched struct {
	ended   chan struct{}
	waiting int
}

func newWatch(find func(context.Context, []ids.Run) (map[ids.Run]int, error), log *slog.Logger) *watch {
	return &watch{find: find, log: log, sessions: map[sessionKey]*watched{}}
}

// add returns a channel that is closed when the session ends. Whoever waits for it no more
// says so, once.
func (w *watch) add(ref infra.Ref) (ended <-chan struct{}, done func()) {
	key := sessionKey{ref.Run, ref.Attempt}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sessions[key]
	if s == nil {
		s = &watched{ended: make(chan struct{})}
		w.sessions[key] = s
	}
	s.waiting++
	return s.ended, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if s.waiting--; s.waiting == 0 && w.sessions[key] == s {
			delete(w.sessions, key)
		}
	}
}

// run looks until the context ends.
func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		looking, cancel := context.WithTimeout(ctx, watchBlind)
		err := w.look(looking)
		cancel()
		switch {
		case err == nil:
			seen = time.Now()
		case ctx.Err() == nil && time.Since(seen) >= watchBlind:
			w.log.WarnContext(ctx, "sessions ended: nobody can say whether they go on", "error", err)
			w.end(nil)
		}
	}
}

// look ends the sessions that have ended.
func (w *watch) look(ctx context.Context) error {
	w.mu.Lock()
	var runs []ids.Run
	var before []sessionKey
	for key := range w.sessions {
		runs, before = append(runs, key.run), append(before, key)
	}
	w.mu.Unlock()
	if len(runs) == 0 {
		return nil
	}
	slices.Sort(runs)
	open, err := w.find(ctx, slices.Compact(runs))
	if err != nil {
		return err
	}
	w.end(func(key sessionKey) bool { return open[key.run] == key.attempt || !slices.Contains(before, key) })
	return nil
}

// end ends the sessions that do not go on; nil: none does.
func (w *watch) end(goesOn func(sessionKey) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, s := range w.sessions {
		if goesOn == nil || !goesOn(key) {
			close(s.ended)
			delete(w.sessions, key)
		}
	}
}
