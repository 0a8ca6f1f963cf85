package store

import (
	"bytes"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.RunBodies = (*Runs)(nil)

// CodeDataRemoved is the code of a body that was removed because its time was over.
const CodeDataRemoved = "data_removed"

// The input of a run is what an approver put in the place of the caller's, or the
// caller's.
const (
	selectInput         = `SELECT COALESCE(edited, body) AS body FROM run_inputs WHERE run_id = ?`
	selectOriginalInput = `SELECT body FROM run_inputs WHERE run_id = ?`
	editInput           = `UPDATE run_inputs SET edited = ? WHERE run_id = ?`
)

// Input implements product.RunStore.
func (s *Runs) Input(ctx context.Context, id ids.Run) ([]byte, error) {
	return s.input(ctx, id, selectInput)
}

// OriginalInput implements product.RunBodies.
func (s *Runs) OriginalInput(ctx context.Context, id ids.Run) ([]byte, error) {
	return s.input(ctx, id, selectOriginalInput)
}

func (s *Runs) input(ctx context.Context, id ids.Run, query string) ([]byte, error) {
	db := s.db.read.WithContext(ctx)
	var rows []inputRow
	if err := db.Raw(query, id).Scan(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "load input of run "+string(id))
	}
	if len(rows) == 1 {
		return rows[0].Body, nil
	}
	var run runRow
	if err := db.Select("id").Where("id = ?", id).Take(&run).Error; err != nil {
		return nil, s.db.lookup(err, "run", string(id))
	}
	return nil, fault.Newf(fault.NotFound, CodeDataRemoved, "the input of run %s was removed", id)
}

// DecideRun implements product.RunBodies. An input that comes with a denial is not
// stored.
func (s *Runs) DecideRun(ctx context.Context, id ids.Run, d product.Decision, by, note string, input []byte, when time.Time) (product.Run, error) {
	if d == product.DecisionDenied {
		input = nil
	}
	edited := false
	decide := func(r *product.Run) ([]*product.Event, error) {
		event, err := r.Decide(d, by, note, input != nil, when)
		if edited = event != nil && input != nil; edited {
			r.InputSize = int64(len(input))
		}
		return []*product.Event{event}, err
	}
	edit := func(tx *gorm.DB, _ *runChange) (func() error, error) {
		if !edited {
			return nothing, nil
		}
		return nothing, tx.Exec(editInput, input, id).Error
	}
	run, err := s.db.updateRun(ctx, "decide about run "+string(id), id, decide, edit)
	if fault.Is(err, fault.Conflict) && input != nil {
		return s.decidedBefore(ctx, id, d, input, err)
	}
	return run, err
}

// decidedBefore is the run that the same decision with the same input was made
// about before, or the error that it conflicts with. A decision stays as it is: it
// may be read after the transaction.
func (s *Runs) decidedBefore(ctx context.Context, id ids.Run, d product.Decision, input []byte, conflict error) (product.Run, error) {
	run, err := s.Run(ctx, id)
	if err != nil {
		return product.Run{}, err
	}
	if run.Approval == nil || run.Approval.Decision != d || !run.Approval.InputEdited {
		return product.Run{}, conflict
	}
	before, err := s.Input(ctx, id)
	switch {
	case fault.Is(err, fault.NotFound): // removed, and the run has ended
		return product.Run{}, conflict
	case err != nil:
		return product.Run{}, err
	case !bytes.Equal(before, input):
		return product.Run{}, conflict
	}
	return run, nil
}

// removalDue is when the bodies of a run are to be removed, or tried to be removed
// again. It is the expression of an index.
const removalDue = `(CASE WHEN removal_postponed_to > retention_due_at THEN removal_postponed_to ELSE retention_due_at END)`

// RetentionDue implements product.RunBodies. The runs come with their attempts.
func (s *Runs) RetentionDue(ctx context.Context, now time.Time, limit int) ([]product.Run, error) {
	if limit <= 0 {
		return nil, nil
	}
	db := s.db.read.WithContext(ctx)
	var rows []runRow
	if err := db.Where("retention_due_at IS NOT NULL AND "+removalDue+" <= ?", at(now)).Order(removalDue).Limit(limit).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list runs with data to be removed")
	}
	if len(rows) == 0 {
		return nil, nil
	}
	named := make([]string, len(rows))
	for i, row := range rows {
		named[i] = row.ID
	}
	var attempts []attemptRow
	if err := db.Where("run_id IN ?", named).Order("run_id, number").Find(&attempts).Error; err != nil {
		return nil, s.db.interpret(err, "list attempts of runs with data to be removed")
	}
	of := map[string][]attemptRow{}
	for _, attempt := range attempts {
		of[attempt.RunID] = append(of[attempt.RunID], attempt)
	}
	runs := make([]product.Run, len(rows))
	for i, row := range rows {
		var err error
		if runs[i], err = runFromRow(row, of[row.ID]); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// retellEnd has the messages about the end of a run say what its record says now.
const retellEnd = `UPDATE webhook_deliveries SET payload = ? WHERE run_id = ? AND run_id <> '' AND event = ?`

// DataRemoved implements product.RunBodies. The input is not kept beside the
// database: it is removed here, and so is what webhooks are told of the agent's
// message. Those that are on their way arrive without it.
func (s *Runs) DataRemoved(ctx context.Context, id ids.Run, when time.Time) error {
	var removed []product.Body
	remove := func(r *product.Run) ([]*product.Event, error) {
		var event *product.Event
		removed, event = r.RemoveData(when)
		return []*product.Event{event}, nil
	}
	removeBodies := func(tx *gorm.DB, c *runChange) (func() error, error) {
		if slices.Contains(removed, product.BodyInput) {
			if err := tx.Where("run_id = ?", id).Delete(&inputRow{}).Error; err != nil {
				return nothing, err
			}
		}
		if slices.Contains(removed, product.BodyOutput) {
			if err := removeSessions(tx, id); err != nil {
				return nothing, err
			}
		}
		if c.run.Message == c.row.Message {
			return nothing, nil
		}
		payload := product.RunPayload(product.WebhookRunEnded, c.run, c.run.FinishedAt)
		return nothing, tx.Exec(retellEnd, string(payload), id, product.WebhookRunEnded).Error
	}
	_, err := s.db.updateRun(ctx, "remove data of run "+string(id), id, remove, removeBodies)
	return err
}

// postponeRemoval leaves retention_due_at as it is: it says which bodies are there.
const postponeRemoval = `UPDATE runs SET removal_postponed_to = ? WHERE id = ?`

// PostponeRemoval implements product.RunBodies.
func (s *Runs) PostponeRemoval(ctx context.Context, id ids.Run, until time.Time) error {
	err := s.db.write.WithContext(ctx).Exec(postponeRemoval, at(until), id).Error
	return s.db.interpret(err, "postpone the removal of data of run "+string(id))
}

// Children implements product.RunBodies. The runs come without attempts.
func (s *Runs) Children(ctx context.Context, parent, after ids.Run, limit int) ([]product.Run, error) {
	var rows []runRow
	// Without the second condition the index, which is partial, does not serve.
	err := s.db.read.WithContext(ctx).Where("parent_id = ? AND parent_id <> '' AND id > ?", parent, after).
		Order("id").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list children of run "+string(parent))
	}
	return runsFromRows(rows)
}
