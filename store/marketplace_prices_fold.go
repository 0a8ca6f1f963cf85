package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
)

// foldedFor is how long a price that took effect is looked at, in days: by then
// some worker has carried it over.
const foldedFor = 30

// staleModels finds listings that show another model than that of the price in
// effect, by the index of the times at which prices take effect.
const staleModels = `
SELECT l.agent_id FROM prices AS p JOIN listings AS l ON l.agent_id = p.agent_id
WHERE p.effective_from > @from AND p.effective_from <= @now AND l.model <> p.model
  AND NOT EXISTS (SELECT 1 FROM prices AS later
    WHERE later.agent_id = p.agent_id AND later.effective_from > p.effective_from AND later.effective_from <= @now)
ORDER BY p.effective_from LIMIT @limit`

// FoldPrices implements marketplace.ListingStore. Two that carry the same one
// wait for each other, and the second changes nothing.
func (s *Marketplace) FoldPrices(ctx context.Context, now time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, nil
	}
	values := map[string]any{"from": at(now.AddDate(0, 0, -foldedFor)), "now": at(now), "limit": limit}
	var agents []string
	if err := s.db.read.WithContext(ctx).Raw(staleModels, values).Scan(&agents).Error; err != nil {
		return 0, s.db.interpret(err, "list prices that took effect")
	}
	var failures error
	for _, agent := range agents {
		failures = errors.Join(failures, s.db.change(ctx, "carry price of agent "+agent+" over", func(tx *gorm.DB) error {
			return refreshListing(tx, s.db.dialect, ids.Agent(agent), now)
		}))
	}
	return len(agents), failures
}
