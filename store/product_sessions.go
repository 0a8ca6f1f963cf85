package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.SessionStore = (*Runs)(nil)

// toldRuns locks some runs in the order of their identifiers (who locks many does not meet
// who does, too), and says whether their newest attempt may act, see [product.Run.Open].
// PostgreSQL looks again at what it waited for only where that is locked, too.
var toldRuns = map[dialect]string{
	postgresDialect: toldRunsIn + ` FOR UPDATE OF r, a`,
	sqliteDialect:   toldRunsIn,
}

const (
	attemptOpen = `r.status IN ('starting', 'running') AND a.reason = '' AND a.reported_at IS NULL`
	withNewest  = `FROM runs r JOIN run_attempts a ON a.run_id = r.id AND a.number = (SELECT MAX(n.number) FROM run_attempts n WHERE n.run_id = r.id)`
	toldRunsIn  = `
SELECT r.id, r.last_event_seq, a.number, r.data_removed_at IS NOT NULL AS removed, ` + attemptOpen + ` AS open
` + withNewest + ` WHERE r.id IN ? ORDER BY r.id`
	openAttempts = `
SELECT r.id, a.number ` + withNewest + ` WHERE r.id IN ? AND ` + attemptOpen
)

// toldRun is a run that is told of.
type toldRun struct {
	ID            string
	LastEventSeq  int64
	Number        int
	Removed, Open bool
}

// refuses says why what is told is not stored; nil: it is.
func (r *toldRun) refuses(t product.Told) error {
	switch {
	case r == nil || t.Attempt > r.Number || t.Late && r.Removed || !t.Late && !(r.Open && r.Number == t.Attempt):
		return product.SessionClosed()
	case !t.Late && r.LastEventSeq+int64(len(t.Events)) > product.MaxRunEvents:
		return fault.Newf(fault.RateLimited, "too_many_events", "a run has at most %d events", product.MaxRunEvents)
	}
	return nil
}

// TellEvents implements product.SessionStore. A batch is two statements and one write
// of the log, however many runs it is of.
func (s *Runs) TellEvents(ctx context.Context, told []product.Told) []error {
	errs := make([]error, len(told))
	err := s.db.change(ctx, "tell events", func(tx *gorm.DB) error {
		clear(errs)
		runs := make([]string, 0, len(told))
		for _, t := range told {
			runs = append(runs, string(t.Run))
		}
		slices.Sort(runs)
		var found []toldRun
		if err := tx.Raw(toldRuns[s.db.dialect], slices.Compact(runs)).Scan(&found).Error; err != nil {
			return err
		}
		return storeTold(tx, told, found, errs)
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// storeTold numbers and writes what may be written, and says of the rest why not.
func storeTold(tx *gorm.DB, told []product.Told, found []toldRun, errs []error) error {
	byID := make(map[string]*toldRun, len(found))
	before := make(map[string]int64, len(found))
	for i := range found {
		byID[found[i].ID], before[found[i].ID] = &found[i], found[i].LastEventSeq
	}
	var log []eventRow
	var bodies []eventBodyRow
	for i, t := range told {
		run := byID[string(t.Run)]
		if errs[i] = run.refuses(t); errs[i] != nil {
			continue
		}
		for _, e := range t.Events {
			run.LastEventSeq++
			bodies = append(bodies, eventBodyRow{RunID: run.ID, Seq: run.LastEventSeq, Message: printable(e.Message), Data: string(e.Data)})
			log = append(log, eventRow{RunID: run.ID, Seq: run.LastEventSeq, Type: string(e.Type), At: at(e.At), Attempt: t.Attempt})
		}
	}
	if len(log) == 0 {
		return nil
	}
	text, args := advance(found, before)
	if err := tx.Exec(text, args...).Error; err != nil {
		return err
	}
	if err := tx.Create(&log).Error; err != nil {
		return err
	}
	return tx.Create(&bodies).Error
}

// eventBodyRow is what is said in an event of a session.
type eventBodyRow struct {
	RunID   string `gorm:"primaryKey"`
	Seq     int64  `gorm:"primaryKey;autoIncrement:false"`
	Message string
	Data    string // JSON; empty: none
}

func (eventBodyRow) TableName() string { return "run_event_bodies" }

// addBodies puts into events of a run what is said in those of sessions.
func addBodies(db *gorm.DB, run ids.Run, events []product.Event) error {
	told := func(e product.Event) bool { return e.Type.FromSession() }
	first := slices.IndexFunc(events, told)
	if first < 0 {
		return nil
	}
	var rows []eventBodyRow
	err := db.Where("run_id = ? AND seq BETWEEN ? AND ?", run, events[first].Seq, events[len(events)-1].Seq).Find(&rows).Error
	if err != nil {
		return err
	}
	for _, row := range rows {
		e := &events[row.Seq-events[0].Seq] // there are no gaps
		e.Message = row.Message
		if row.Data != "" {
			e.Data = json.RawMessage(row.Data)
		}
	}
	return nil
}

// advance is the statement that counts the events of many runs.
func advance(found []toldRun, before map[string]int64) (text string, args []any) {
	var cases strings.Builder
	var runs []string
	for _, run := range found {
		if run.LastEventSeq != before[run.ID] {
			cases.WriteString(" WHEN ? THEN CAST(? AS bigint)")
			args = append(args, run.ID, run.LastEventSeq)
			runs = append(runs, run.ID)
		}
	}
	return `UPDATE runs SET last_event_seq = CASE id` + cases.String() + ` ELSE last_event_seq END WHERE id IN ?`, append(args, runs)
}

// reportRow is what a supervisor said of the end of an attempt.
type reportRow struct {
	RunID   string `gorm:"primaryKey"`
	Attempt int    `gorm:"primaryKey;autoIncrement:false"`
	Report  string
}

func (reportRow) TableName() string { return "run_reports" }

// OpenAttempts implements product.SessionStore.
func (s *Runs) OpenAttempts(ctx context.Context, runs []ids.Run) (map[ids.Run]int, error) {
	var rows []struct {
		ID     ids.Run
		Number int
	}
	err := s.db.read.WithContext(ctx).Raw(openAttempts, runs).Scan(&rows).Error
	found := make(map[ids.Run]int, len(rows))
	for _, row := range rows {
		found[row.ID] = row.Number
	}
	return found, s.db.interpret(err, "find open attempts")
}

// ReportEnd implements product.SessionStore.
func (s *Runs) ReportEnd(ctx context.Context, run ids.Run, attempt int, report json.RawMessage, now time.Time) error {
	row := reportRow{RunID: string(run), Attempt: attempt, Report: string(report)}
	_, err := s.db.updateRun(ctx, "report end of run "+string(run), run, func(r *product.Run) ([]*product.Event, error) {
		if err := r.Open(attempt); err != nil {
			return nil, err
		}
		r.Attempts[r.AttemptIndex(attempt)].ReportedAt, r.WaitingUntil = now, time.Time{}
		return nil, nil
	}, func(tx *gorm.DB, _ *runChange) (func() error, error) {
		return nothing, tx.Create(&row).Error
	})
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	// The answer to the same report may have been lost.
	if kept, readErr := s.Report(ctx, run, attempt); readErr == nil && string(kept) == row.Report {
		return nil
	}
	return err
}

// removeSessions removes what the attempts of a run said and left: of the events
// remains that there were some.
func removeSessions(tx *gorm.DB, run ids.Run) error {
	for _, rows := range []any{&reportRow{}, &artifactRow{}, &eventBodyRow{}, &toolApprovalRow{}} {
		if err := tx.Where("run_id = ?", run).Delete(rows).Error; err != nil {
			return err
		}
	}
	return nil
}

// Report implements product.SessionStore.
func (s *Runs) Report(ctx context.Context, run ids.Run, attempt int) (json.RawMessage, error) {
	var row reportRow
	err := s.db.read.WithContext(ctx).Where("run_id = ? AND attempt = ?", run, attempt).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, notFound("report", string(run))
	}
	return json.RawMessage(row.Report), s.db.interpret(err, "load report of "+string(run))
}
