package store

import (
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"agentmarket/ids"
	"agentmarket/product"
)

// queueRow is a run that waits for a slot, or was handed one and does not know of
// it yet.
type queueRow struct {
	RunID       string `gorm:"primaryKey"`
	OrgID       string
	Starter     string
	TeamID      string
	AgentID     string
	PublisherID string
	CPUMillis   int64  `gorm:"column:cpu_millis"`
	MemoryMiB   int64  `gorm:"column:memory_mib"`
	Urgency     int64  // the negated priority
	Scope       string // of the limit, as in limits
	Bound       string
	EnteredAt   stamp
	GrantedAt   stamp
	ToldDueAt   stamp
}

func (queueRow) TableName() string { return "queue" }

const queueColumns = `queue.run_id, queue.org_id, queue.starter, queue.team_id, queue.agent_id, queue.publisher_id,
    queue.cpu_millis, queue.memory_mib, queue.urgency, queue.scope, queue.bound, queue.entered_at, queue.granted_at, queue.told_due_at`

func (r queueRow) slot(now time.Time) slotRow {
	return slotRow{
		RunID: r.RunID, OrgID: r.OrgID, Starter: r.Starter, TeamID: r.TeamID, AgentID: r.AgentID, PublisherID: r.PublisherID,
		CPUMillis: r.CPUMillis, MemoryMiB: r.MemoryMiB, TakenAt: at(now),
	}
}

func rowFromSlot(s slotRow, o obstacle, priority int, now time.Time) queueRow {
	return queueRow{
		RunID: s.RunID, OrgID: s.OrgID, Starter: s.Starter, TeamID: s.TeamID, AgentID: s.AgentID, PublisherID: s.PublisherID,
		CPUMillis: s.CPUMillis, MemoryMiB: s.MemoryMiB, Urgency: -int64(priority),
		Scope: o.limit.Scope, Bound: string(o.bound), EnteredAt: at(now),
	}
}

// wait is where a run stands, without its position.
func (r queueRow) wait(l product.Limit) product.Wait {
	bound := product.Bound(r.Bound)
	return product.Wait{Scope: scopeOfKey(r.Scope), Bound: bound, Limit: l.Of(bound), Since: r.EnteredAt.t}
}

// findPlace finds the place of a run in the queue; nil: it has none.
func findPlace(tx *gorm.DB, run ids.Run) (*queueRow, error) {
	var row queueRow
	err := tx.Where("run_id = ?", run).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, nil //nolint:nilnil // no place is an answer
	}
	return &row, err
}

// standing is where a run stands that got no slot.
type standing struct {
	wait      product.Wait
	entered   bool // it did not stand there before
	overtakes bool // there may be room, and others to whom to hand it
}

// slotFor gives a run that begins its slot: the one that was handed to it, or one
// that is free. Else the run gets its place in the queue, and slotFor returns where
// it stands.
func (db *DB) slotFor(tx *gorm.DB, run product.Run, now time.Time) (*standing, error) {
	slot, err := slotOf(tx, run, now)
	if err != nil {
		return nil, err
	}
	o, err := db.takeSlot(tx, slot, now)
	if err != nil {
		return nil, err
	}
	if o != nil {
		return enqueue(tx, run, slot, *o, now)
	}
	return nil, tx.Exec(`DELETE FROM queue WHERE run_id = ?`, run.ID).Error
}

// enqueue gives a run its place in the queue; the limits are locked. A run that has
// one keeps its time.
func enqueue(tx *gorm.DB, run product.Run, slot slotRow, o obstacle, now time.Time) (*standing, error) {
	before, err := findPlace(tx, run.ID)
	if err != nil {
		return nil, err
	}
	row := rowFromSlot(slot, o, run.Request.Priority, now)
	entered := true
	if before != nil {
		row.EnteredAt = before.EnteredAt
		entered = before.Scope != row.Scope
	}
	if before == nil || *before != row {
		if err := tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error; err != nil {
			return nil, err
		}
	}
	return &standing{wait: row.wait(limitFromRow(o.limit)), entered: entered, overtakes: o.overtakes}, nil
}

// event is that of a run that has entered the queue, or waits for another limit
// now; nil: it stood there before.
func (s standing) event(now time.Time) *product.Event {
	if !s.entered {
		return nil
	}
	return &product.Event{Type: product.EventQueued, At: now, Message: "waiting for " + s.wait.Reason()}
}
