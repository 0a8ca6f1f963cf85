package egress

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"agentmarket/fault"
	"agentmarket/ids"
)

const (
	// forgetAfter is how long a run that asks nothing is remembered: longer than any run
	// lasts.
	forgetAfter = 25 * time.Hour
	// maxRefusals bounds the refusals of a run that are recorded.
	maxRefusals = 100
)

// limits count the connections of runs, in this process.
type limits struct {
	Limits
	now func() time.Time

	mu      sync.Mutex
	runs    map[ids.Run]*usage
	inside  int
	sweptAt time.Time
}

// usage is what a run has used.
type usage struct {
	most      int64
	bytes     atomic.Int64
	refusals  atomic.Int64
	requested *rate.Limiter // with the lock of limits, as what follows
	inside    int
	lastAt    time.Time
}

func newLimits(now func() time.Time, l Limits) *limits {
	return &limits{Limits: l, now: now, runs: map[ids.Run]*usage{}, sweptAt: now()}
}

// enter takes one connection of a run, or refuses it with fault.RateLimited. What entered
// must leave.
func (l *limits) enter(run ids.Run) (*usage, error) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	u := l.runs[run]
	if u == nil {
		u = &usage{most: l.Bytes, requested: rate.NewLimiter(rate.Every(time.Minute/time.Duration(l.PerMinute)), l.PerMinute)}
		l.runs[run] = u
	}
	u.lastAt = now
	switch {
	case !u.requested.AllowN(now, 1):
		return nil, fault.Newf(fault.RateLimited, "egress_too_many", "a run makes at most %d connections a minute", l.PerMinute)
	case u.inside >= l.AtOnce:
		return nil, fault.Newf(fault.RateLimited, "egress_too_many", "a run has at most %d connections at once", l.AtOnce)
	case u.bytes.Load() >= u.most:
		return nil, fault.Newf(fault.RateLimited, "egress_used_up", "a run passes at most %d bytes", l.Bytes)
	case l.inside >= l.Total:
		return nil, fault.New(fault.Unavailable, "", "the gateway has too many connections")
	}
	u.inside++
	l.inside++
	return u, nil
}

func (l *limits) leave(u *usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u.inside--
	l.inside--
}

// sweep forgets runs that have ended.
func (l *limits) sweep(now time.Time) {
	if now.Sub(l.sweptAt) < time.Hour {
		return
	}
	l.sweptAt = now
	for run, u := range l.runs {
		if u.inside == 0 && now.Sub(u.lastAt) > forgetAfter {
			delete(l.runs, run)
		}
	}
}

// spend takes bytes of the run, and reports whether it had them.
func (u *usage) spend(n int) bool { return u.bytes.Add(int64(n)) <= u.most }

// refusal reports whether one more is recorded.
func (u *usage) refusal() bool { return u.refusals.Add(1) <= maxRefusals }
