package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/mod/semver"
	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// Agents is the agent registry of layer 2.
type Agents struct{ db *DB }

var (
	_ product.AgentStore = (*Agents)(nil)
	_ product.AgentNames = (*Agents)(nil)
)

type agentRow struct {
	ID              string
	OrgID           string
	Publisher       string
	Name            string
	Summary         string
	SearchText      string
	LatestVersionID *string
	LatestReleaseID *string // the newest version that is no pre-release
	Latest          string
	CreatedAt       stamp
	UpdatedAt       stamp
}

func (agentRow) TableName() string { return "agents" }

func agentFromRow(r agentRow) product.Agent {
	return product.Agent{
		ID: ids.Agent(r.ID), OrgID: ids.Org(r.OrgID), Publisher: r.Publisher, Name: r.Name,
		Summary: r.Summary, Latest: r.Latest, CreatedAt: r.CreatedAt.t, UpdatedAt: r.UpdatedAt.t,
	}
}

// agentEntry is an agent in the audit log.
type agentEntry struct {
	Name string `json:"name"`
}

// publish makes a version the newest one of the agent. A release wins over every
// pre-release, so the newest version is the newest release once there is one.
func (r *agentRow) publish(v product.Version) {
	r.LatestVersionID = clone((*string)(&v.ID))
	if semver.Prerelease("v"+v.Number) == "" {
		r.LatestReleaseID = clone(r.LatestVersionID)
	}
	r.Latest, r.Summary, r.UpdatedAt = v.Number, v.Manifest.Summary, at(v.CreatedAt)
	r.SearchText = strings.ToLower(r.Publisher + "/" + r.Name + "\n" + r.Summary)
}

type versionRow struct {
	ID        string
	AgentID   string
	Number    string
	Manifest  string // JSON, as it was published
	Image     string
	Changelog string
	CreatedAt stamp
}

func (versionRow) TableName() string { return "agent_versions" }

func rowFromVersion(v product.Version) (versionRow, error) {
	manifest, err := json.Marshal(v.Manifest)
	if err != nil {
		return versionRow{}, fmt.Errorf("encode manifest of version %s: %w", v.Number, err)
	}
	return versionRow{
		ID: string(v.ID), AgentID: string(v.AgentID), Number: v.Number,
		Manifest: string(manifest), Image: v.Image, Changelog: v.Changelog, CreatedAt: at(v.CreatedAt),
	}, nil
}

func versionFromRow(r versionRow) (product.Version, error) {
	v := product.Version{
		ID: ids.Version(r.ID), AgentID: ids.Agent(r.AgentID), Number: r.Number,
		Image: r.Image, Changelog: r.Changelog, CreatedAt: r.CreatedAt.t,
	}
	if err := json.Unmarshal([]byte(r.Manifest), &v.Manifest); err != nil {
		return product.Version{}, fmt.Errorf("decode manifest of version %s: %w", r.ID, err)
	}
	return v, nil
}

// versionEntry is a version in the audit log.
type versionEntry struct {
	Agent  string `json:"agent"` // publisher/name
	Number string `json:"number"`
	Image  string `json:"image"`
}

// insertAgent makes sure that the agent exists. A rival's insert that is not
// committed yet makes PostgreSQL wait for its end.
const insertAgent = `
INSERT INTO agents (id, org_id, publisher, name, summary, search_text, latest, created_at, updated_at)
VALUES (?, ?, ?, ?, '', '', '', ?, ?)
ON CONFLICT (publisher, name) DO NOTHING`

// lockAgent lets one version of an agent be added at a time; the weaker lock
// does not hold up runs of the agent, which refer to its row. The transactions
// of SQLite exclude each other anyway.
var lockAgent = map[dialect]string{
	postgresDialect: `SELECT ` + agentColumns + ` FROM agents WHERE publisher = ? AND name = ? FOR NO KEY UPDATE`,
	sqliteDialect:   `SELECT ` + agentColumns + ` FROM agents WHERE publisher = ? AND name = ?`,
}

const agentColumns = `id, org_id, publisher, name, summary, search_text, latest_version_id, latest_release_id, latest,
    created_at, updated_at`

// AddVersion implements product.AgentStore.
func (s *Agents) AddVersion(ctx context.Context, by audit.Actor, a product.Agent, v product.Version) (
	stored product.Agent, version product.Version, added bool, err error,
) {
	err = s.db.change(ctx, fmt.Sprintf("add version %s of agent %s", v.Number, a.FullName()), func(tx *gorm.DB) error {
		a.UpdatedAt = v.CreatedAt
		agent, err := s.ensureAgent(tx, by, a)
		if err != nil {
			return err
		}
		stored, version, added, err = addVersion(tx, by, agent, v)
		return err
	})
	if err != nil {
		return product.Agent{}, product.Version{}, false, err
	}
	return stored, version, added, nil
}

// EnsureAgent implements product.AgentNames.
func (s *Agents) EnsureAgent(ctx context.Context, by audit.Actor, a product.Agent) (product.Agent, error) {
	var agent agentRow
	err := s.db.change(ctx, "create agent "+a.FullName(), func(tx *gorm.DB) (err error) {
		agent, err = s.ensureAgent(tx, by, a)
		return err
	})
	if err != nil {
		return product.Agent{}, err
	}
	return agentFromRow(agent), nil
}

// ensureAgent returns the row of an agent, new or there, and locks it.
func (s *Agents) ensureAgent(tx *gorm.DB, by audit.Actor, a product.Agent) (agentRow, error) {
	insert := tx.Exec(insertAgent, a.ID, a.OrgID, a.Publisher, a.Name, at(a.CreatedAt), at(a.UpdatedAt))
	if insert.Error != nil {
		return agentRow{}, insert.Error
	}
	var agent agentRow
	if err := tx.Raw(lockAgent[s.db.dialect], a.Publisher, a.Name).Take(&agent).Error; err != nil {
		return agentRow{}, err
	}
	if agent.OrgID != string(a.OrgID) {
		return agentRow{}, fault.Newf(fault.Conflict, "agent_taken", "the agent %s belongs to another organization", a.FullName())
	}
	if insert.RowsAffected == 0 {
		return agent, nil
	}
	return agent, writeAudit(tx, by, a.OrgID, "agent.create", agent.ID, nil, agentEntry{a.FullName()}, a.CreatedAt)
}

// addVersion adds a version to a locked agent, unless it is there.
func addVersion(tx *gorm.DB, by audit.Actor, agent agentRow, v product.Version) (product.Agent, product.Version, bool, error) {
	fail := func(err error) (product.Agent, product.Version, bool, error) {
		return product.Agent{}, product.Version{}, false, err
	}
	v.AgentID = ids.Agent(agent.ID)
	fullName := agentFromRow(agent).FullName()
	var rows []versionRow
	if err := tx.Where("agent_id = ? AND number = ?", agent.ID, v.Number).Limit(1).Find(&rows).Error; err != nil {
		return fail(err)
	}
	if len(rows) > 0 {
		there, err := versionFromRow(rows[0])
		if err != nil {
			return fail(err)
		}
		if !there.SameContent(v) {
			return fail(fault.Newf(fault.Conflict, "version_taken",
				"version %s of %s is published with another content; a version never changes", v.Number, fullName))
		}
		return agentFromRow(agent), there, false, nil
	}

	row, err := rowFromVersion(v)
	if err != nil {
		return fail(err)
	}
	if err := tx.Create(&row).Error; err != nil {
		return fail(err)
	}
	if newer(v.Number, agent.Latest) {
		agent.publish(v)
		err := tx.Select("Summary", "SearchText", "LatestVersionID", "LatestReleaseID", "Latest", "UpdatedAt").Updates(&agent).Error
		if err != nil {
			return fail(err)
		}
	}
	entry := versionEntry{Agent: fullName, Number: v.Number, Image: v.Image}
	if err := writeAudit(tx, by, ids.Org(agent.OrgID), "version.publish", row.ID, nil, entry, v.CreatedAt); err != nil {
		return fail(err)
	}
	stored, err := versionFromRow(row)
	return agentFromRow(agent), stored, true, err
}

// newer reports whether version number a takes the place of b as the latest
// one: a release wins over every pre-release, then semantic precedence counts.
// Every version is newer than none.
func newer(a, b string) bool {
	if b == "" {
		return true
	}
	a, b = "v"+a, "v"+b
	if aPre, bPre := semver.Prerelease(a) != "", semver.Prerelease(b) != ""; aPre != bPre {
		return bPre
	}
	return semver.Compare(a, b) >= 0
}
