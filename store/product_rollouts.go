package store

import (
	"context"
	"errors"
	"reflect"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.RolloutStore = (*Product)(nil)

// activeRollout finds the rollouts that decide about versions. The words are in
// the text, for the partial index rollouts_active_key.
const activeRollout = `agent_id = ? AND status IN ('running', 'paused')`

// refuseRollout is fault.Conflict while a rollout of a channel of a locked agent
// is active: it alone points the channel.
func refuseRollout(tx *gorm.DB, agent ids.Agent, channel string) error {
	var there []rolloutRow
	err := tx.Where(activeRollout+" AND channel = ?", agent, channel).Limit(1).Find(&there).Error
	if err != nil || len(there) == 0 {
		return err
	}
	return fault.Newf(fault.Conflict, "rollout_active", "the rollout %s of the channel %s is active", there[0].ID, channel)
}

// CreateRollout implements product.RolloutStore.
func (s *Product) CreateRollout(ctx context.Context, by audit.Actor, r product.Rollout) error {
	return s.db.change(ctx, "create rollout "+string(r.ID), func(tx *gorm.DB) error {
		owner, before, err := s.db.channelIn(tx, r.AgentID, r.Channel)
		if err != nil {
			return err
		}
		if err := refuseRollout(tx, r.AgentID, r.Channel); err != nil {
			return err
		}
		var versions int64
		err = tx.Model(&versionRow{}).Where("id IN ? AND agent_id = ?", []ids.Version{r.FromID, r.ToID}, r.AgentID).Count(&versions).Error
		if err != nil {
			return err
		}
		if versions != 2 {
			return notFound("version", r.From+" or "+r.To)
		}
		if before == nil || before.VersionID != string(r.FromID) {
			from := channelRow{AgentID: owner.ID, Name: r.Channel, VersionID: string(r.FromID), Version: r.From, UpdatedAt: at(r.CreatedAt)}
			if err := pointChannel(tx, by, owner, before, from); err != nil {
				return err
			}
		}
		row := rowFromRollout(r)
		row.DispatchDueAt = row.CreatedAt
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, ids.Org(owner.OrgID), "rollout.create", row.ID, nil, row.entry(), r.CreatedAt)
	})
}

// Rollout implements product.RolloutStore.
func (s *Product) Rollout(ctx context.Context, id ids.Rollout) (product.Rollout, error) {
	var row rolloutRow
	if err := s.db.read.WithContext(ctx).Where("id = ?", id).Take(&row).Error; err != nil {
		return product.Rollout{}, s.db.lookup(err, "rollout", string(id))
	}
	return rolloutFromRow(row), nil
}

// ActiveRollouts implements product.RolloutStore, by channel.
func (s *Product) ActiveRollouts(ctx context.Context, agent ids.Agent) ([]product.Rollout, error) {
	var rows []rolloutRow
	if err := s.db.read.WithContext(ctx).Where(activeRollout, agent).Order("channel").Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list active rollouts of agent "+string(agent))
	}
	return rolloutsFromRows(rows), nil
}

// Rollouts implements product.RolloutStore.
func (s *Product) Rollouts(ctx context.Context, agent ids.Agent, before ids.Rollout, limit int) ([]product.Rollout, error) {
	query := s.db.read.WithContext(ctx).Where("agent_id = ?", agent)
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var rows []rolloutRow
	if err := query.Order("id DESC").Limit(atMost(limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list rollouts of agent "+string(agent))
	}
	return rolloutsFromRows(rows), nil
}

const selectRollout = `SELECT ` + rolloutColumns + ` FROM rollouts WHERE id = ?`

// UpdateRollout implements product.RolloutStore. What does not change is not
// written.
func (s *Product) UpdateRollout(ctx context.Context, by audit.Actor, id ids.Rollout, action string, dispatch bool,
	change func(*product.Rollout) error,
) (product.Rollout, error) {
	var result product.Rollout
	err := s.db.change(ctx, "update rollout "+string(id), func(tx *gorm.DB) error {
		var before rolloutRow
		err := tx.Raw(selectRollout+forUpdate[s.db.dialect], id).Take(&before).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return notFound("rollout", string(id))
		}
		if err != nil {
			return err
		}
		result = rolloutFromRow(before)
		if err := change(&result); err != nil {
			return refuse(err)
		}
		after := rowFromRollout(result)
		// What no change may touch.
		after.ID, after.AgentID, after.Channel, after.CreatedAt = before.ID, before.AgentID, before.Channel, before.CreatedAt
		after.FromID, after.FromNumber, after.ToID, after.ToNumber = before.FromID, before.FromNumber, before.ToID, before.ToNumber
		after.Revision, after.DispatchDueAt = before.Revision, before.DispatchDueAt
		if reflect.DeepEqual(before, after) {
			result = rolloutFromRow(before)
			return nil
		}
		if !product.RolloutStatus(before.Status).Active() && after.Status != before.Status {
			return fault.Newf(fault.Conflict, "rollout_state", "the rollout has ended: %s", before.Status)
		}
		after.Revision++
		if dispatch {
			after.DispatchDueAt = after.UpdatedAt
		}
		result = rolloutFromRow(after)
		return s.storeRollout(tx, by, action, before, after)
	})
	if err != nil {
		return product.Rollout{}, err
	}
	return result, nil
}

// storeRollout writes a change of a locked rollout. The agent is locked before
// the row is written, so that who holds the agent never waits for this one.
func (s *Product) storeRollout(tx *gorm.DB, by audit.Actor, action string, before, after rolloutRow) error {
	owner, channel, err := s.db.channelIn(tx, ids.Agent(after.AgentID), after.Channel)
	if err != nil {
		return err
	}
	completed := after.Status == string(product.RolloutCompleted) && before.Status != after.Status
	if completed && (channel == nil || channel.VersionID != after.ToID) {
		to := channelRow{AgentID: owner.ID, Name: after.Channel, VersionID: after.ToID, Version: after.ToNumber, UpdatedAt: after.UpdatedAt}
		if err := pointChannel(tx, by, owner, channel, to); err != nil {
			return err
		}
	}
	if err := tx.Select("*").Omit("id").Updates(&after).Error; err != nil {
		return err
	}
	return writeAudit(tx, by, ids.Org(owner.OrgID), action, after.ID, before.entry(), after.entry(), after.UpdatedAt.t)
}
