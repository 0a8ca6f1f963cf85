package workers

import (
	"context"
	"time"
)

// repeat does something at once and then again after each interval, until the
// context ends. An interval of 0 is the usual one.
func repeat(ctx context.Context, interval, usual time.Duration, do func(context.Context)) error {
	if interval == 0 {
		interval = usual
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		do(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
