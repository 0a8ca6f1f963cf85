package api

import (
	"context"
	"time"
)

// There is nothing to watch: a store has no feed of changes. Whoever waits for a
// change of a record looks again after a pause, which grows while nothing
// happens.
const (
	shortPause = 100 * time.Millisecond
	longPause  = 2 * time.Second
)

// longer is the pause after one in which nothing happened.
func longer(pause time.Duration) time.Duration { return min(pause*3/2, longPause) }

// sleep pauses, or returns the error of a context that ends earlier.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
