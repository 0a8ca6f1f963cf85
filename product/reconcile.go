package product

import (
	"context"
	"time"

	"agentmarket/ids"
)

// ReconcileStore is what the reconciliation of record, engine and cluster reads.
type ReconcileStore interface {
	// RunsByID loads runs with their attempts; those that do not exist are left out.
	RunsByID(ctx context.Context, list []ids.Run) (map[ids.Run]Run, error)
	// OpenRuns lists runs that have not ended, in the order of their identifiers
	// beyond after: those created before a time, of which the engine was told
	// everything. They come without attempts.
	OpenRuns(ctx context.Context, after ids.Run, before time.Time, limit int) ([]Run, error)
	// LeakedHolds lists runs for which something is held, since before a time,
	// although they have ended.
	LeakedHolds(ctx context.Context, before time.Time, limit int) ([]ids.Run, error)
	// Redispatch makes a run that has not ended due in the outbox: the engine is
	// told of it as if for the first time.
	Redispatch(ctx context.Context, run ids.Run, now time.Time) error
}

// Needs reports whether what exists for an attempt in the cluster is still of use: the
// run goes on, and the attempt has not ended for longer than the margin. Whoever ended
// it is given so long to clear away what it left.
func (r *Run) Needs(attempt int, now time.Time, margin time.Duration) bool {
	if r.Status.Terminal() {
		return now.Sub(r.FinishedAt) < margin
	}
	i := r.AttemptIndex(attempt)
	if i < 0 {
		return false // an attempt is recorded before anything is made for it
	}
	a := r.Attempts[i]
	return a.Reason == "" || now.Sub(a.FinishedAt) < margin
}
