package store

import (
	"context"
	"time"

	"agentmarket/ids"
	"agentmarket/product"
)

// ranMicros is how long a run ran, in microseconds; null for one that never did.
// SQLite knows no times: it reads them to the millisecond.
var ranMicros = map[dialect]string{
	postgresDialect: `EXTRACT(EPOCH FROM (finished_at - started_at)) * 1000000`,
	sqliteDialect:   `ROUND((unixepoch(finished_at, 'subsec') - unixepoch(started_at, 'subsec')) * 1000) * 1000`,
}

// sumSamples reads the parts of runs_samples_idx that are about these versions since
// an identifier. Of an organization it takes the newest runs: as many as a share of
// the samples that are needed (product.MinShares).
func sumSamples(d dialect) string {
	return `
WITH ended AS (
    SELECT version_id, org_id, status, cost_micros, started_at, finished_at,
        ROW_NUMBER() OVER (PARTITION BY version_id, org_id ORDER BY id DESC) AS newest
    FROM runs
    WHERE agent_id = ? AND version_id IN ? AND request ->> 'version_rule' IN ? AND id >= ? AND finished_at IS NOT NULL
        AND cause IN ? AND (version_id = ? OR request ->> 'version_rule' = ?)
        AND org_id <> (SELECT org_id FROM agents WHERE id = ?)
), shared AS (
    SELECT version_id AS of_id, COUNT(DISTINCT org_id) AS shares FROM ended GROUP BY version_id
)
SELECT version_id, org_id, COUNT(*) AS runs, CAST(SUM(CASE WHEN status = 'succeeded' THEN 0 ELSE 1 END) AS bigint) AS failed,
    CAST(SUM(cost_micros) AS bigint) AS micros, CAST(COALESCE(SUM(` + ranMicros[d] + `), 0) AS bigint) AS ran_micros
FROM ended JOIN shared ON of_id = version_id
WHERE (newest - 1) * (CASE WHEN shares < ? THEN shares ELSE ? END) < ?
GROUP BY version_id, org_id`
}

type samplesRow struct {
	VersionID string
	OrgID     string
	Runs      int64
	Failed    int64
	Micros    int64
	RanMicros int64
}

// Samples implements product.RolloutStore, with one query. The identifier of a run
// says when it was created.
func (s *Product) Samples(ctx context.Context, r product.Rollout) (map[ids.Version]product.OrgSamples, error) {
	var rows []samplesRow
	err := s.db.read.WithContext(ctx).Raw(sumSamples(s.db.dialect),
		r.AgentID, []ids.Version{r.FromID, r.ToID},
		[]string{product.RuleRollout, product.RuleChannel, product.RuleInstallation},
		ids.Earliest[ids.Run](ids.PrefixRun, r.CreatedAt),
		[]product.Cause{product.CauseNone, product.CauseAgent, product.CausePublisher},
		r.FromID, product.RuleRollout, r.AgentID,
		product.MinShares, product.MinShares, r.Thresholds.MinSamples).Scan(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "sum up runs of agent "+string(r.AgentID))
	}
	samples := map[ids.Version]product.OrgSamples{r.FromID: {}, r.ToID: {}}
	for _, row := range rows {
		samples[ids.Version(row.VersionID)][ids.Org(row.OrgID)] = product.Samples{
			Runs: row.Runs, Failed: row.Failed, Micros: row.Micros, Duration: time.Duration(row.RanMicros) * time.Microsecond,
		}
	}
	return samples, nil
}
