package store

import (
	"context"
	"time"

	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.ReconcileStore = (*Runs)(nil)

// open is the condition of runs_open_idx. The planner must recognise it.
const open = `status IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling')`

const (
	selectOpenRuns = `SELECT ` + runColumns + ` FROM runs
WHERE ` + open + ` AND id > ? AND created_at < ? AND dispatch_due_at IS NULL ORDER BY id LIMIT ?`
	selectLeakedHolds = `SELECT h.run_id FROM holds AS h JOIN runs AS r ON r.id = h.run_id
WHERE h.settled_at IS NULL AND h.created_at < ? AND r.status NOT IN ('queued', 'waiting_approval', 'starting', 'running', 'canceling')
ORDER BY h.created_at LIMIT ?`
	redispatch = `UPDATE runs SET dispatch_due_at = ? WHERE id = ? AND dispatch_due_at IS NULL AND ` + open
)

// RunsByID implements product.ReconcileStore.
func (s *Runs) RunsByID(ctx context.Context, list []ids.Run) (map[ids.Run]product.Run, error) {
	found := make(map[ids.Run]product.Run, len(list))
	if len(list) == 0 {
		return found, nil
	}
	var rows []runRow
	if err := s.db.read.WithContext(ctx).Raw(`SELECT `+runColumns+` FROM runs WHERE id IN ?`, list).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "load runs")
	}
	var attempts []attemptRow
	err := s.db.read.WithContext(ctx).Where("run_id IN ?", list).Order("run_id, number").Find(&attempts).Error
	if err != nil {
		return nil, s.db.interpret(err, "load attempts of runs")
	}
	of := map[string][]attemptRow{}
	for _, a := range attempts {
		of[a.RunID] = append(of[a.RunID], a)
	}
	for _, row := range rows {
		run, err := runFromRow(row, of[row.ID])
		if err != nil {
			return nil, s.db.interpret(err, "load runs")
		}
		found[run.ID] = run
	}
	return found, nil
}

// OpenRuns implements product.ReconcileStore.
func (s *Runs) OpenRuns(ctx context.Context, after ids.Run, before time.Time, limit int) ([]product.Run, error) {
	var rows []runRow
	if err := s.db.read.WithContext(ctx).Raw(selectOpenRuns, after, at(before), limit).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list open runs")
	}
	runs, err := runsFromRows(rows)
	return runs, s.db.interpret(err, "list open runs")
}

// LeakedHolds implements product.ReconcileStore.
func (s *Runs) LeakedHolds(ctx context.Context, before time.Time, limit int) ([]ids.Run, error) {
	var runs []ids.Run
	err := s.db.read.WithContext(ctx).Raw(selectLeakedHolds, at(before), limit).Find(&runs).Error
	return runs, s.db.interpret(err, "find holds of ended runs")
}

// Redispatch implements product.ReconcileStore.
func (s *Runs) Redispatch(ctx context.Context, run ids.Run, now time.Time) error {
	err := s.db.write.WithContext(ctx).Exec(redispatch, at(now), run).Error
	return s.db.interpret(err, "make run "+string(run)+" due again")
}
