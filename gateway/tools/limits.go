package tools

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"agentmarket/fault"
	"agentmarket/ids"
)

// forgetAfter is how long a run that asks nothing is remembered: longer than any run
// lasts.
const forgetAfter = 25 * time.Hour

// limits count the calls of each run, in this process.
type limits struct {
	now             func() time.Time
	perMinute, most int

	mu      sync.Mutex
	runs    map[ids.Run]*usage
	sweptAt time.Time
}

type usage struct {
	calls  *rate.Limiter
	total  int
	lastAt time.Time
}

func newLimits(now func() time.Time, perMinute, most int) *limits {
	return &limits{now: now, perMinute: perMinute, most: most, runs: map[ids.Run]*usage{}, sweptAt: now()}
}

// take takes one call of a run, or refuses it with fault.RateLimited.
func (l *limits) take(run ids.Run) error {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	u := l.runs[run]
	if u == nil {
		u = &usage{calls: rate.NewLimiter(rate.Every(time.Minute/time.Duration(l.perMinute)), l.perMinute)}
		l.runs[run] = u
	}
	u.lastAt = now
	switch {
	case u.total >= l.most:
		return fault.Newf(fault.RateLimited, "calls_used_up", "a run has at most %d calls of tools", l.most)
	case !u.calls.AllowN(now, 1):
		return fault.Newf(fault.RateLimited, "too_many_calls", "a run has at most %d calls of tools a minute", l.perMinute)
	}
	u.total++
	return nil
}

// sweep forgets runs that have ended.
func (l *limits) sweep(now time.Time) {
	if now.Sub(l.sweptAt) < time.Hour {
		return
	}
	l.sweptAt = now
	for run, u := range l.runs {
		if now.Sub(u.lastAt) > forgetAfter {
			delete(l.runs, run)
		}
	}
}
