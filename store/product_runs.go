package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// Runs keeps the execution records of layer 2. The rows and their mapping are
// in product_runs_rows.go.
type Runs struct{ db *DB }

var _ product.RunStore = (*Runs)(nil)

// CodeIdempotencyKeyReused is the code of a key that came with another request
// before.
const CodeIdempotencyKeyReused = "idempotency_key_reused"

// insertIdempotencyKey makes one of many equal requests the first. On PostgreSQL
// the others wait here until the first one has committed or is undone.
const insertIdempotencyKey = `
INSERT INTO idempotency_keys (org_id, key, fingerprint, run_id, created_at)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (org_id, key) DO NOTHING`

// CreateRun implements product.RunStore.
func (s *Runs) CreateRun(ctx context.Context, r product.Run, input []byte, key *product.IdempotencyKey) (product.Run, bool, error) {
	if r.Status != product.StatusQueued || r.Cancel != nil || len(r.Attempts) > 0 {
		return product.Run{}, false, fmt.Errorf("create run %s: a new run is queued and has no attempts", r.ID)
	}
	r.InputSize = int64(len(input))
	row, err := rowFromRun(r)
	if err != nil {
		return product.Run{}, false, err
	}
	row.LastEventSeq = 1
	row.DispatchDueAt = at(r.CreatedAt.Add(dispatchGrace))

	var replayed *runRow
	err = s.db.transact(ctx, func(tx *gorm.DB) error {
		replayed = nil
		if key != nil {
			insert := tx.Exec(insertIdempotencyKey, r.OrgID, key.Key, key.Fingerprint, r.ID, row.CreatedAt)
			if insert.Error != nil {
				return insert.Error
			}
			if insert.RowsAffected == 0 {
				replayed, err = runOfKey(tx, r.OrgID, *key)
				return err
			}
		}
		if err := s.db.withinBudget(tx, r); err != nil {
			return err
		}
		if err := s.db.joinTree(tx, &r); err != nil {
			return refuse(err)
		}
		row.RootID, row.Depth = string(r.Origin.RootID), r.Origin.Depth
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		if err := createRunEndpoint(tx, r); err != nil {
			return err
		}
		if err := tx.Create(&inputRow{RunID: row.ID, Body: append([]byte{}, input...)}).Error; err != nil {
			return err
		}
		return tx.Create(&eventRow{RunID: row.ID, Seq: 1, Type: string(product.EventCreated), At: row.CreatedAt,
			Message: printable(fmt.Sprintf("run of %s version %s created", r.Agent, r.Version))}).Error
	})
	switch {
	case err != nil:
		return product.Run{}, false, s.db.interpret(err, "create run "+string(r.ID))
	case replayed != nil:
		// With what happened to it since, as GET would tell it.
		run, err := s.withAttempts(s.db.read.WithContext(ctx), *replayed)
		return run, false, s.db.interpret(err, "load run "+replayed.ID)
	default:
		run, err := runFromRow(row, nil)
		return run, true, err
	}
}

var _ product.RunKeys = (*Runs)(nil)

// RunOfKey implements product.RunKeys.
func (s *Runs) RunOfKey(ctx context.Context, org ids.Org, key product.IdempotencyKey) (product.Run, error) {
	db := s.db.read.WithContext(ctx)
	row, err := runOfKey(db, org, key)
	if err != nil {
		return product.Run{}, s.db.lookup(err, "run", "of the request")
	}
	run, err := s.withAttempts(db, *row)
	return run, s.db.interpret(err, "load run "+row.ID)
}

// runOfKey loads the run that a key made before.
func runOfKey(tx *gorm.DB, org ids.Org, key product.IdempotencyKey) (*runRow, error) {
	var used idempotencyKeyRow
	if err := tx.Where("org_id = ? AND key = ?", org, key.Key).Take(&used).Error; err != nil {
		return nil, err
	}
	if used.Fingerprint != key.Fingerprint {
		return nil, errKeyReused()
	}
	var row runRow
	if err := tx.Where("id = ?", used.RunID).Take(&row).Error; err != nil {
		return nil, err
	}
	return &row, nil
}

// Run implements product.RunStore. The run is read before its attempts: it may
// be older than they are, but a run that ended never comes with an attempt that
// did not.
func (s *Runs) Run(ctx context.Context, id ids.Run) (product.Run, error) {
	db := s.db.read.WithContext(ctx)
	var row runRow
	if err := db.Where("id = ?", id).Take(&row).Error; err != nil {
		return product.Run{}, s.db.lookup(err, "run", string(id))
	}
	run, err := s.withAttempts(db, row)
	return run, s.db.interpret(err, "load run "+string(id))
}

func (s *Runs) withAttempts(db *gorm.DB, row runRow) (product.Run, error) {
	var attempts []attemptRow
	if err := db.Where("run_id = ?", row.ID).Order("number").Find(&attempts).Error; err != nil {
		return product.Run{}, err
	}
	return runFromRow(row, attempts)
}

// labelFilter selects runs by labels. PostgreSQL takes all of them at once as a
// JSON object and has an index for it; SQLite looks into the runs that the
// other filters leave, one label a time.
var labelFilter = map[dialect]string{
	postgresDialect: `labels @> CAST(? AS jsonb)`,
	sqliteDialect:   `EXISTS (SELECT 1 FROM json_each(runs.labels) AS label WHERE label.key = ? AND label.value = ?)`,
}

// whereStatus selects by state. What is stored of those that wait for input is that they
// run, and until when they wait.
func whereStatus(query *gorm.DB, q product.RunQuery) *gorm.DB {
	if !slices.Contains(q.Statuses, product.StatusWaitingInput) {
		return query.Where("status IN ?", q.Statuses)
	}
	return query.Where("(status IN ? OR status IN ('starting', 'running') AND waiting_until > ?)", q.Statuses, at(q.At))
}

// Runs implements product.RunStore. The bounds of time are exclusive.
func (s *Runs) Runs(ctx context.Context, org ids.Org, q product.RunQuery) ([]product.Run, error) {
	query := s.db.read.WithContext(ctx).Where("org_id = ?", org)
	if len(q.Statuses) > 0 {
		query = whereStatus(query, q)
	}
	if q.Agent != "" {
		query = query.Where("agent = ?", q.Agent)
	}
	if q.ScheduleID != "" {
		query = query.Where("schedule_id = ? AND schedule_id <> ''", q.ScheduleID)
	}
	if !q.CreatedAfter.IsZero() {
		query = query.Where("created_at > ?", at(q.CreatedAfter))
	}
	if !q.CreatedBefore.IsZero() {
		query = query.Where("created_at < ?", at(q.CreatedBefore))
	}
	if q.Before != "" {
		query = query.Where("id < ?", q.Before)
	}
	query, err := s.whereLabels(query, q.Labels)
	if err != nil {
		return nil, err
	}
	var rows []runRow
	if err := query.Order("id DESC").Limit(atMost(q.Limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list runs of organization "+string(org))
	}
	return runsFromRows(rows)
}

func (s *Runs) whereLabels(query *gorm.DB, labels map[string]string) (*gorm.DB, error) {
	if len(labels) == 0 {
		return query, nil
	}
	filter := labelFilter[s.db.dialect]
	if s.db.dialect == postgresDialect {
		object, err := json.Marshal(labels)
		if err != nil {
			return nil, fmt.Errorf("encode labels: %w", err)
		}
		return query.Where(gorm.Expr(filter, string(object))), nil
	}
	for key, value := range labels {
		query = query.Where(gorm.Expr(filter, key, value))
	}
	return query, nil
}

// Events implements product.RunStore.
func (s *Runs) Events(ctx context.Context, id ids.Run, after int64, limit int) ([]product.Event, error) {
	var rows []eventRow
	err := s.db.read.WithContext(ctx).Where("run_id = ? AND seq > ?", id, after).
		Order("seq").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list events of run "+string(id))
	}
	events := make([]product.Event, len(rows))
	for i, row := range rows {
		events[i] = eventFromRow(row)
	}
	err = addBodies(s.db.read.WithContext(ctx), id, events)
	return events, s.db.interpret(err, "list what agents say in events of run "+string(id))
}
