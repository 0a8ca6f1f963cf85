package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.ChannelStore = (*Agents)(nil)

type channelRow struct {
	AgentID   string `gorm:"primaryKey"`
	Name      string `gorm:"primaryKey"`
	VersionID string
	Version   string
	UpdatedAt stamp
}

func (channelRow) TableName() string { return "channels" }

func channelFromRow(r channelRow) product.Channel {
	return product.Channel{
		AgentID: ids.Agent(r.AgentID), Name: r.Name, VersionID: ids.Version(r.VersionID), Version: r.Version, UpdatedAt: r.UpdatedAt.t,
	}
}

// channelEntry is a channel in the audit log.
type channelEntry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

func (r channelRow) entry() channelEntry { return channelEntry{r.Name, r.Version} }

// lockAgentByID is lockAgent by identifier: one channel of an agent is changed at
// a time.
var lockAgentByID = map[dialect]string{
	postgresDialect: `SELECT ` + agentColumns + ` FROM agents WHERE id = ? FOR NO KEY UPDATE`,
	sqliteDialect:   `SELECT ` + agentColumns + ` FROM agents WHERE id = ?`,
}

// channelIn locks an agent and loads a channel of it; nil for one that is not
// there.
func (db *DB) channelIn(tx *gorm.DB, agent ids.Agent, name string) (agentRow, *channelRow, error) {
	var owner agentRow
	err := tx.Raw(lockAgentByID[db.dialect], agent).Take(&owner).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		err = notFound("agent", string(agent))
	}
	if err != nil {
		return agentRow{}, nil, err
	}
	var rows []channelRow
	err = tx.Where("agent_id = ? AND name = ?", agent, name).Limit(1).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return owner, nil, err
	}
	return owner, &rows[0], nil
}

// SetChannel implements product.ChannelStore. A channel that is where it should
// be stays as it is.
func (s *Agents) SetChannel(ctx context.Context, by audit.Actor, agent ids.Agent, name, version string, now time.Time) (product.Channel, error) {
	var set channelRow
	err := s.db.change(ctx, "set channel "+name+" of agent "+string(agent), func(tx *gorm.DB) error {
		owner, before, err := s.db.channelIn(tx, agent, name)
		if err != nil {
			return err
		}
		var there versionRow
		err = tx.Where("agent_id = ? AND number = ?", agent, version).Take(&there).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return notFound("version", version)
		}
		if err != nil {
			return err
		}
		if before != nil && before.VersionID == there.ID {
			set = *before
			return nil
		}
		if err := refuseRollout(tx, agent, name); err != nil {
			return err
		}
		set = channelRow{AgentID: owner.ID, Name: name, VersionID: there.ID, Version: there.Number, UpdatedAt: at(now)}
		return pointChannel(tx, by, owner, before, set)
	})
	if err != nil {
		return product.Channel{}, err
	}
	return channelFromRow(set), nil
}

// pointChannel stores a channel of a locked agent in the place of the one before;
// nil: there is none.
func pointChannel(tx *gorm.DB, by audit.Actor, owner agentRow, before *channelRow, set channelRow) error {
	if before == nil {
		if err := tx.Create(&set).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, ids.Org(owner.OrgID), "channel.set", owner.ID, nil, set.entry(), set.UpdatedAt.t)
	}
	if err := tx.Select("VersionID", "Version", "UpdatedAt").Updates(&set).Error; err != nil {
		return err
	}
	return writeAudit(tx, by, ids.Org(owner.OrgID), "channel.set", owner.ID, before.entry(), set.entry(), set.UpdatedAt.t)
}

// DeleteChannel implements product.ChannelStore.
func (s *Agents) DeleteChannel(ctx context.Context, by audit.Actor, agent ids.Agent, name string, now time.Time) error {
	return s.db.change(ctx, "delete channel "+name+" of agent "+string(agent), func(tx *gorm.DB) error {
		owner, before, err := s.db.channelIn(tx, agent, name)
		if err != nil {
			return err
		}
		if before == nil {
			return fault.Newf(fault.NotFound, "channel_not_found", "the agent has no channel %s", name)
		}
		if err := refuseRollout(tx, agent, name); err != nil {
			return err
		}
		if err := tx.Delete(before).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, ids.Org(owner.OrgID), "channel.delete", owner.ID, before.entry(), nil, now)
	})
}

// Channels implements product.ChannelStore.
func (s *Agents) Channels(ctx context.Context, agent ids.Agent) ([]product.Channel, error) {
	var rows []channelRow
	if err := s.db.read.WithContext(ctx).Where("agent_id = ?", agent).Order("name").Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list channels of agent "+string(agent))
	}
	channels := make([]product.Channel, len(rows))
	for i, row := range rows {
		channels[i] = channelFromRow(row)
	}
	return channels, nil
}

// versionOfChannel, and versionOfStable, which is never without one while the
// agent has any.
const (
	versionOfChannel = `id = (SELECT version_id FROM channels WHERE channels.agent_id = ? AND channels.name = ?)`
	versionOfStable  = `id = COALESCE((SELECT version_id FROM channels WHERE channels.agent_id = ? AND channels.name = ?),
    (SELECT latest_version_id FROM agents WHERE agents.id = ?))`
)

// Resolve implements product.ChannelStore, with one query.
func (s *Agents) Resolve(ctx context.Context, agent ids.Agent, version string) (product.Version, error) {
	query := s.db.read.WithContext(ctx)
	switch {
	case version == product.ChannelStable:
		return s.version(query.Where(versionOfStable, agent, version, agent), version)
	case product.ValidChannel(version):
		return s.version(query.Where(versionOfChannel, agent, version), version)
	default:
		return s.VersionByNumber(ctx, agent, version)
	}
}
