package store

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/product"
)

// AgentByName implements product.AgentStore.
func (s *Agents) AgentByName(ctx context.Context, publisher, name string) (product.Agent, error) {
	var row agentRow
	err := s.db.read.WithContext(ctx).Where("publisher = ? AND name = ?", publisher, name).Take(&row).Error
	if err != nil {
		return product.Agent{}, s.db.lookup(err, "agent", publisher+"/"+name)
	}
	return agentFromRow(row), nil
}

// shownRight selects rights that make an agent visible, as marketplace.Claim.Visible
// says: what was given and is over does not. newestRight selects one of those that
// an organization has for an agent.
const (
	shownRight = `(entitlements.source NOT IN ('grant', 'free') OR
    (entitlements.revoked_at IS NULL OR entitlements.revoked_at > @at) AND (entitlements.expires_at IS NULL OR entitlements.expires_at > @at))`
	newestRight = `NOT EXISTS (SELECT 1 FROM entitlements AS other
    WHERE other.org_id = entitlements.org_id AND other.agent_id = entitlements.agent_id AND other.id > entitlements.id
    AND (other.source NOT IN ('grant', 'free') OR
        (other.revoked_at IS NULL OR other.revoked_at > @at) AND (other.expires_at IS NULL OR other.expires_at > @at)))`
)

// AgentsFor implements product.AgentStore.
func (s *Agents) AgentsFor(ctx context.Context, org ids.Org, q product.AgentQuery) ([]product.Agent, error) {
	if q.At.IsZero() {
		return nil, errors.New("agents are listed for a time")
	}
	query := s.db.read.WithContext(ctx).Table("agents").
		// Not an equality of two columns: a planner must not begin with all agents
		// because they are in the order of the page.
		Joins("JOIN entitlements ON agents.id = entitlements.agent_id || ''").
		Where("entitlements.org_id = ?", org).
		Where(shownRight+" AND "+newestRight, map[string]any{"at": at(q.At)})
	if q.Before != "" {
		query = query.Where("entitlements.agent_id < ?", q.Before)
	}
	if q.Text != "" {
		query = query.Where("agents.search_text LIKE ? ESCAPE '!'", containing(q.Text))
	}
	var rows []agentRow
	// By the column of the index that serves the page.
	if err := query.Order("entitlements.agent_id DESC").Limit(atMost(q.Limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list agents for organization "+string(org))
	}
	agents := make([]product.Agent, len(rows))
	for i, row := range rows {
		agents[i] = agentFromRow(row)
	}
	return agents, nil
}

var likeEscape = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// containing is the LIKE pattern, with the escape character !, for texts that
// contain a text. Case is folded here and in search_text by the same function,
// for each database has its own idea of it.
func containing(text string) string {
	return "%" + likeEscape.Replace(strings.ToLower(text)) + "%"
}

// atMost is the limit of a query; zero means all.
func atMost(limit int) int {
	if limit <= 0 {
		return -1
	}
	return limit
}

// Version implements product.AgentStore.
func (s *Agents) Version(ctx context.Context, id ids.Version) (product.Version, error) {
	return s.version(s.db.read.WithContext(ctx).Where("id = ?", id), string(id))
}

// VersionByNumber implements product.AgentStore.
func (s *Agents) VersionByNumber(ctx context.Context, agent ids.Agent, number string) (product.Version, error) {
	query := s.db.read.WithContext(ctx)
	if number == product.Latest {
		query = query.Where("id = (SELECT latest_version_id FROM agents WHERE agents.id = ?)", agent)
	} else {
		query = query.Where("agent_id = ? AND number = ?", agent, number)
	}
	return s.version(query, number)
}

func (s *Agents) version(query *gorm.DB, name string) (product.Version, error) {
	var row versionRow
	if err := query.Take(&row).Error; err != nil {
		return product.Version{}, s.db.lookup(err, "version", name)
	}
	return versionFromRow(row)
}

// Versions implements product.AgentStore.
func (s *Agents) Versions(ctx context.Context, agent ids.Agent, before ids.Version, limit int) ([]product.Version, error) {
	query := s.db.read.WithContext(ctx).Where("agent_id = ?", agent)
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var rows []versionRow
	if err := query.Order("id DESC").Limit(atMost(limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list versions of agent "+string(agent))
	}
	versions := make([]product.Version, len(rows))
	for i, row := range rows {
		var err error
		if versions[i], err = versionFromRow(row); err != nil {
			return nil, err
		}
	}
	return versions, nil
}
