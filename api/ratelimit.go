package api

import (
	"container/list"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultRate  = 50
	defaultBurst = 100
	// maxBuckets bounds the memory of the limiter. The bucket that was not used
	// for longest goes first; it is full again by then, or nearly.
	maxBuckets = 10_000
	// touchInterval is how often the use of a key is recorded.
	touchInterval = time.Minute
)

// limiter keeps a token bucket for every caller that came lately.
type limiter struct {
	perSecond float64
	burst     int
	size      int

	mu      sync.Mutex
	buckets map[string]*list.Element
	recent  *list.List // of *bucket, the last used in front
}

type bucket struct {
	name    string
	tokens  *rate.Limiter
	touched time.Time
}

// budget is what a caller has left.
type budget struct {
	unlimited    bool
	allowed      bool
	limit        int
	remaining    int
	resetSeconds int // until the bucket is full
	retrySeconds int // until the next request is allowed
	touch        bool
}

func newLimiter(r RateLimit) *limiter {
	if r.PerSecond == 0 {
		r.PerSecond = defaultRate
	}
	if r.Burst <= 0 {
		r.Burst = defaultBurst
	}
	return &limiter{
		perSecond: r.PerSecond, burst: r.Burst, size: maxBuckets,
		buckets: map[string]*list.Element{}, recent: list.New(),
	}
}

// take takes one request from a bucket.
func (l *limiter) take(name string, now time.Time) budget {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(name)
	var left budget
	if left.touch = now.Sub(b.touched) >= touchInterval; left.touch {
		b.touched = now
	}
	if l.perSecond < 0 {
		left.unlimited, left.allowed = true, true
		return left
	}
	left.allowed = b.tokens.AllowN(now, 1)
	tokens := b.tokens.TokensAt(now)
	left.limit = l.burst
	left.remaining = max(0, int(tokens))
	left.resetSeconds = l.seconds(float64(l.burst) - tokens)
	left.retrySeconds = max(1, l.seconds(1-tokens))
	return left
}

// seconds is how long a number of tokens takes to come, in whole seconds.
func (l *limiter) seconds(tokens float64) int {
	return max(0, int(math.Ceil(tokens/l.perSecond)))
}

func (l *limiter) bucket(name string) *bucket {
	if e, ok := l.buckets[name]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if len(l.buckets) >= l.size {
		oldest := l.recent.Back()
		delete(l.buckets, l.recent.Remove(oldest).(*bucket).name)
	}
	b := &bucket{name: name, tokens: rate.NewLimiter(rate.Limit(l.perSecond), l.burst)}
	l.buckets[name] = l.recent.PushFront(b)
	return b
}
