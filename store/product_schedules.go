package store

import (
	"context"
	"errors"
	"reflect"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.ScheduleStore = (*Product)(nil)

// CreateSchedule implements product.ScheduleStore. The lock of the organization
// makes the bound hold.
func (s *Product) CreateSchedule(ctx context.Context, by audit.Actor, sch product.Schedule) error {
	return s.db.change(ctx, "create schedule "+string(sch.ID), func(tx *gorm.DB) error {
		if err := s.db.Marketplace().lockOrg(tx, sch.OrgID); err != nil {
			return err
		}
		var have int64
		err := tx.Model(&scheduleRow{}).Where("org_id = ? AND deleted_at IS NULL", sch.OrgID).Count(&have).Error
		if err != nil {
			return err
		}
		if have >= product.MaxSchedules {
			return fault.Newf(fault.Conflict, "too_many_schedules", "the organization has %d schedules, and may not have more", product.MaxSchedules)
		}
		row := rowFromSchedule(sch)
		row.Revision = 1
		row.DispatchDueAt = at(sch.CreatedAt.Add(dispatchGrace))
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, sch.OrgID, "schedule.create", row.ID, nil, row.entry(), sch.CreatedAt)
	})
}

// Schedule implements product.ScheduleStore.
func (s *Product) Schedule(ctx context.Context, id ids.Schedule) (product.Schedule, error) {
	var row scheduleRow
	if err := s.db.read.WithContext(ctx).Where("id = ? AND deleted_at IS NULL", id).Take(&row).Error; err != nil {
		return product.Schedule{}, s.db.lookup(err, "schedule", string(id))
	}
	return scheduleFromRow(row)
}

// Schedules implements product.ScheduleStore.
func (s *Product) Schedules(ctx context.Context, org ids.Org, before ids.Schedule, limit int) ([]product.Schedule, error) {
	query := s.db.read.WithContext(ctx).Omit("Input").Where("org_id = ? AND deleted_at IS NULL", org)
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var rows []scheduleRow
	if err := query.Order("id DESC").Limit(atMost(limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list schedules of organization "+string(org))
	}
	return schedulesFromRows(rows)
}

const selectSchedule = `SELECT ` + scheduleColumns + `, input FROM schedules WHERE id = ? AND org_id = ? AND deleted_at IS NULL`

// scheduleIn locks and loads a schedule of an organization.
func (s *Product) scheduleIn(tx *gorm.DB, org ids.Org, id ids.Schedule) (scheduleRow, error) {
	var row scheduleRow
	err := tx.Raw(selectSchedule+forUpdate[s.db.dialect], id, org).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		err = notFound("schedule", string(id))
	}
	return row, err
}

// UpdateSchedule implements product.ScheduleStore. What does not change is not
// written, whatever its new time is.
func (s *Product) UpdateSchedule(ctx context.Context, by audit.Actor, org ids.Org, id ids.Schedule, change func(*product.Schedule) error) (product.Schedule, error) {
	var result product.Schedule
	err := s.db.change(ctx, "update schedule "+string(id), func(tx *gorm.DB) error {
		before, err := s.scheduleIn(tx, org, id)
		if err != nil {
			return err
		}
		sch, err := scheduleFromRow(before)
		if err != nil {
			return err
		}
		if err := change(&sch); err != nil {
			return refuse(err)
		}
		after := rowFromSchedule(sch)
		// What no change may touch.
		after.ID, after.OrgID, after.CreatedAt = before.ID, before.OrgID, before.CreatedAt
		after.Revision, after.DispatchDueAt = before.Revision, before.DispatchDueAt
		if result, err = s.storeSchedule(tx, by, before, after, sch.Asked); err != nil {
			return err
		}
		result.Input = sch.Input
		return nil
	})
	if err != nil {
		return product.Schedule{}, err
	}
	return result, nil
}

// storeSchedule writes the difference between two rows, and returns what is stored
// then. A skipped start is no change: it has no revision and no audit entry. A start
// that was asked for has an entry, and a revision only with a change.
func (s *Product) storeSchedule(tx *gorm.DB, by audit.Actor, before, after scheduleRow, asked *product.Asked) (product.Schedule, error) {
	same, when := after, after.UpdatedAt.t
	same.UpdatedAt, same.LastSkip = before.UpdatedAt, before.LastSkip
	if changed := !reflect.DeepEqual(before, same); !changed {
		after.UpdatedAt = before.UpdatedAt
		if err := tx.Select("LastSkip").Updates(&after).Error; err != nil {
			return product.Schedule{}, err
		}
		if asked == nil {
			return scheduleFromRow(after)
		}
	} else {
		after.Revision++
		after.DispatchDueAt = dueSchedule(before, after.UpdatedAt)
		if err := tx.Select("*").Omit("id", "org_id", "created_at").Updates(&after).Error; err != nil {
			return product.Schedule{}, err
		}
	}
	entry := after.entry()
	entry.Asked = askedEntryOf(asked)
	if err := writeAudit(tx, by, ids.Org(after.OrgID), scheduleAction(before, after, asked), after.ID, before.entry(), entry, when); err != nil {
		return product.Schedule{}, err
	}
	return scheduleFromRow(after)
}

// scheduleAction is what a change of a schedule is called in the audit log.
func scheduleAction(before, after scheduleRow, asked *product.Asked) string {
	switch {
	case asked != nil && asked.Backfill():
		return "schedule.backfill"
	case asked != nil:
		return "schedule.trigger"
	case after.Paused && !before.Paused:
		return "schedule.pause"
	case before.Paused && !after.Paused:
		return "schedule.resume"
	}
	return "schedule.update"
}

// dueSchedule is when a changed schedule is due. Where it is due anyway the time
// stays, for it may be the end of a relay's lease.
func dueSchedule(before scheduleRow, changed stamp) stamp {
	if before.DispatchDueAt.t.IsZero() {
		return at(changed.t.Add(dispatchGrace))
	}
	return before.DispatchDueAt
}

// DeleteSchedule implements product.ScheduleStore. The input goes at once: nobody
// needs it any more.
func (s *Product) DeleteSchedule(ctx context.Context, by audit.Actor, org ids.Org, id ids.Schedule, when time.Time) error {
	return s.db.change(ctx, "delete schedule "+string(id), func(tx *gorm.DB) error {
		before, err := s.scheduleIn(tx, org, id)
		if err != nil {
			return err
		}
		after := before
		after.DeletedAt, after.UpdatedAt, after.Input = at(when), at(when), []byte{}
		after.Revision++
		after.DispatchDueAt = dueSchedule(before, after.UpdatedAt)
		if err := tx.Select("DeletedAt", "UpdatedAt", "Input", "Revision", "DispatchDueAt").Updates(&after).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, org, "schedule.delete", before.ID, before.entry(), nil, when)
	})
}
