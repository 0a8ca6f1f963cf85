package gateway

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"agentmarket/fault"
	"agentmarket/ids"
)

// What a run may ask of one gateway process.
const (
	callsPerSecond = 50
	callBurst      = 200
	callsAtOnce    = 16
	longAtOnce     = 8 // calls of models and tools, beside the others
	// forgetAfter is how long a run that says nothing is remembered: its bucket is
	// full again long before.
	forgetAfter = time.Minute
)

// limits keep one run from taking the gateway from the others.
type limits struct {
	now func() time.Time

	mu      sync.Mutex
	runs    map[ids.Run]*usage
	sweptAt time.Time
}

type usage struct {
	calls  *rate.Limiter
	inside int
	long   int
	lastAt time.Time
}

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, runs: map[ids.Run]*usage{}, sweptAt: now()}
}

// enter takes one call of a run, or refuses it with fault.RateLimited. What entered
// must leave.
func (l *limits) enter(run ids.Run) error {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	u := l.runs[run]
	if u == nil {
		u = &usage{calls: rate.NewLimiter(callsPerSecond, callBurst)}
		l.runs[run] = u
	}
	u.lastAt = now
	switch {
	case u.inside >= callsAtOnce:
		return fault.Newf(fault.RateLimited, "too_many_calls", "a run has at most %d calls at once", callsAtOnce)
	case !u.calls.AllowN(now, 1):
		return fault.Newf(fault.RateLimited, "too_many_calls", "a run makes at most %d calls a second", callsPerSecond)
	}
	u.inside++
	return nil
}

func (l *limits) leave(run ids.Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u := l.runs[run]; u != nil {
		u.inside--
	}
}

// enterLong takes one long call of a run that has entered. What entered must leave.
func (l *limits) enterLong(run ids.Run) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.runs[run]
	if u.long >= longAtOnce {
		return fault.Newf(fault.RateLimited, "too_many_calls", "a run has at most %d calls of models and tools at once", longAtOnce)
	}
	u.long++
	return nil
}

func (l *limits) leaveLong(run ids.Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[run].long--
}

// sweep forgets runs that said nothing for a while.
func (l *limits) sweep(now time.Time) {
	if now.Sub(l.sweptAt) < forgetAfter {
		return
	}
	l.sweptAt = now
	for run, u := range l.runs {
		if u.inside == 0 && u.long == 0 && now.Sub(u.lastAt) > forgetAfter {
			delete(l.runs, run)
		}
	}
}
