package store

import (
	"context"
	"slices"

	"agentmarket/ids"
	"agentmarket/product"
)

// AgentsByID implements product.AgentNames.
func (s *Agents) AgentsByID(ctx context.Context, agents []ids.Agent) (map[ids.Agent]product.Agent, error) {
	found := make(map[ids.Agent]product.Agent, len(agents))
	if len(agents) == 0 {
		return found, nil
	}
	var rows []agentRow
	if err := s.db.read.WithContext(ctx).Where("id IN ?", agents).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list agents by identifier")
	}
	for _, row := range rows {
		found[ids.Agent(row.ID)] = agentFromRow(row)
	}
	return found, nil
}

// headRow is a version with the channel that points at it.
type headRow struct {
	OfAgent string
	OfName  string
	Version versionRow `gorm:"embedded"`
}

// selectHeads reads the channels of these names that agents have, and stable
// where it was not set. More channels than asked for cost little: agents have
// few.
const selectHeads = `
SELECT c.agent_id AS of_agent, c.name AS of_name,
    v.id, v.agent_id, v.number, v.manifest, v.image, v.changelog, v.created_at
FROM channels AS c JOIN agent_versions AS v ON v.id = c.version_id
WHERE c.agent_id IN @agents AND c.name IN @names
UNION ALL
SELECT a.id, @stable, v.id, v.agent_id, v.number, v.manifest, v.image, v.changelog, v.created_at
FROM agents AS a JOIN agent_versions AS v ON v.id = a.latest_version_id
WHERE a.id IN @agents AND NOT EXISTS (SELECT 1 FROM channels AS c WHERE c.agent_id = a.id AND c.name = @stable)`

// Heads implements product.ChannelStore, with one query.
func (s *Agents) Heads(ctx context.Context, channels []product.ChannelName) (map[product.ChannelName]product.Version, error) {
	heads := make(map[product.ChannelName]product.Version, len(channels))
	if len(channels) == 0 {
		return heads, nil
	}
	var agents, names []string
	for _, c := range channels {
		agents = append(agents, string(c.Agent))
		if !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	var rows []headRow
	err := s.db.read.WithContext(ctx).Raw(selectHeads, map[string]any{
		"agents": agents, "names": names, "stable": product.ChannelStable,
	}).Scan(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list versions of channels")
	}
	for _, row := range rows {
		name := product.ChannelName{Agent: ids.Agent(row.OfAgent), Name: row.OfName}
		if !slices.Contains(channels, name) {
			continue
		}
		if heads[name], err = versionFromRow(row.Version); err != nil {
			return nil, err
		}
	}
	return heads, nil
}
