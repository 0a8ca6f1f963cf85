package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
)

// What agents are used is counted apart from their listings: a settlement writes
// one small row, and the many indexes of a listing follow later.

const addUsage = `
INSERT INTO agent_usage (agent_id, runs, seconds, dirty) VALUES (?, ?, ?, true)
ON CONFLICT (agent_id) DO UPDATE SET runs = agent_usage.runs + excluded.runs,
    seconds = agent_usage.seconds + excluded.seconds, dirty = true`

// recordUsage counts runs of an agent and the seconds that they took together, in
// the transaction that settles them.
func recordUsage(tx *gorm.DB, agent ids.Agent, runs, seconds int64) error {
	return tx.Exec(addUsage, agent, runs, seconds).Error
}

// AverageRun implements marketplace.ListingStore.
func (s *Marketplace) AverageRun(ctx context.Context, agent ids.Agent) (time.Duration, error) {
	var used []struct{ Runs, Seconds int64 }
	err := s.db.read.WithContext(ctx).Raw(`SELECT runs, seconds FROM agent_usage WHERE agent_id = ?`, agent).Scan(&used).Error
	if err != nil || len(used) == 0 || used[0].Runs == 0 {
		return 0, s.db.interpret(err, "load use of agent "+string(agent))
	}
	return time.Duration(float64(used[0].Seconds) / float64(used[0].Runs) * float64(time.Second)), nil
}

// foldUsage carries counters over and counts them. Rivals, and settlements that
// go on, are not waited for: what they hold is carried over later. The statements
// of SQLite run one after the other, which one writer at a time may.
var foldUsage = map[dialect][]string{
	postgresDialect: {`
WITH used AS MATERIALIZED (
    SELECT agent_id FROM agent_usage WHERE dirty AND agent_id > '' ORDER BY agent_id LIMIT ? FOR UPDATE SKIP LOCKED
), carried AS (
    UPDATE agent_usage SET dirty = false FROM used WHERE agent_usage.agent_id = used.agent_id
    RETURNING agent_usage.agent_id, agent_usage.runs
), folded AS (
    UPDATE listings SET runs = carried.runs FROM carried WHERE listings.agent_id = carried.agent_id
)
SELECT count(*) FROM carried`},
	sqliteDialect: {`
UPDATE listings SET runs = (SELECT agent_usage.runs FROM agent_usage WHERE agent_usage.agent_id = listings.agent_id)
WHERE agent_id IN (SELECT agent_id FROM agent_usage WHERE dirty AND agent_id > '' ORDER BY agent_id LIMIT ?)`, `
UPDATE agent_usage SET dirty = false
WHERE agent_id IN (SELECT agent_id FROM agent_usage WHERE dirty AND agent_id > '' ORDER BY agent_id LIMIT ?)
RETURNING agent_id`},
}

// FoldUsage implements marketplace.ListingStore.
func (s *Marketplace) FoldUsage(ctx context.Context, limit int) (folded int, err error) {
	if limit <= 0 {
		return 0, nil
	}
	err = s.db.change(ctx, "fold use of agents", func(tx *gorm.DB) error {
		statements := foldUsage[s.db.dialect]
		if s.db.dialect == postgresDialect {
			return tx.Raw(statements[0], limit).Scan(&folded).Error
		}
		if err := tx.Exec(statements[0], limit).Error; err != nil {
			return err
		}
		var agents []string
		err := tx.Raw(statements[1], limit).Scan(&agents).Error
		folded = len(agents)
		return err
	})
	return folded, err
}
