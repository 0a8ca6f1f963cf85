package workers

import (
	"context"
	"log/slog"
	"time"

	"agentmarket/marketplace"
)

// Chores is what the marketplace needs done from time to time, see
// marketplace.OrderStore and marketplace.ListingStore.
type Chores interface {
	RenewDue(ctx context.Context, now time.Time, limit int, feeBasisPoints int64) (int, error)
	FoldUsage(ctx context.Context, limit int) (int, error)
	FoldPrices(ctx context.Context, now time.Time, limit int) (int, error)
}

// Housekeeping renews the subscriptions whose month is over, and carries the use
// of agents and the models of prices that took effect into the catalog. Any number
// of workers may do so at once.
type Housekeeping struct {
	Store  Chores
	Policy marketplace.Policy
	Log    *slog.Logger
	Now    func() time.Time
	// Interval is the pause between two looks. Default: 30 seconds.
	Interval time.Duration
}

const (
	housekeepingInterval = 30 * time.Second
	// choreBatch is how much is done between two looks at the context.
	choreBatch = 100
)

// Run keeps house until the context ends. What fails is tried again after the
// interval.
func (h *Housekeeping) Run(ctx context.Context) error {
	return repeat(ctx, h.Interval, housekeepingInterval, h.once)
}

// once does whatever is due. One chore that fails does not keep the others from
// being done.
func (h *Housekeeping) once(ctx context.Context) {
	h.untilDone(ctx, "renew subscriptions", func() (int, error) {
		return h.Store.RenewDue(ctx, h.Now(), choreBatch, h.Policy.FeeBasisPoints)
	})
	h.untilDone(ctx, "fold usage", func() (int, error) {
		return h.Store.FoldUsage(ctx, choreBatch)
	})
	h.untilDone(ctx, "fold prices", func() (int, error) {
		return h.Store.FoldPrices(ctx, h.Now(), choreBatch)
	})
}

// untilDone does a chore until less was due than it may do at once.
func (h *Housekeeping) untilDone(ctx context.Context, chore string, do func() (int, error)) {
	for ctx.Err() == nil {
		done, err := do()
		if err != nil && ctx.Err() == nil {
			h.Log.Warn("housekeeping interrupted", "chore", chore, "error", err)
		}
		if done > 0 {
			h.Log.Debug("chore done", "chore", chore, "count", done)
		}
		if err != nil || done < choreBatch {
			return
		}
	}
}
