package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/mod/semver"
	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// Agents is the agent registry of layer 2.
type Agents struct{ db *DB }

var _ product.AgentStore = (*Agents)(nil)

type agentRow struct {
	ID              string
	OrgID           string
	Publisher       string
	Name            string
	Summary         string
	SearchText      string
	LatestVersionID *string
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

// publish makes a version the newest one of the agent.
func (r *agentRow) publish(v product.Version) {
	r.LatestVersionID = clone((*string)(&v.ID))
	r.Latest, r.Summary, r.UpdatedAt = v.Number, v.Manifest.Summary, at(v.CreatedAt)
	r.SearchText = strings.ToLower(r.Publisher + "/" + r.Name + "\n" + r.Summary)
}

type versionRow struct {
	ID        string
	AgentID   string
	Number    string
	Manifest  string // JSON, as it was published
	Image     string
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
		Manifest: string(manifest), Image: v.Image, CreatedAt: at(v.CreatedAt),
	}, nil
}

func versionFromRow(r versionRow) (product.Version, error) {
	v := product.Version{
		ID: ids.Version(r.ID), AgentID: ids.Agent(r.AgentID), Number: r.Number,
		Image: r.Image, CreatedAt: r.CreatedAt.t,
	}
	if err := json.Unmarshal([]byte(r.Manifest), &v.Manifest); err != nil {
		return product.Version{}, fmt.Errorf("decode manifest of version %s: %w", r.ID, err)
	}
	return v, nil
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

const agentColumns = `id, org_id, publisher, name, summary, search_text, latest_version_id, latest, created_at, updated_at`

// AddVersion implements product.AgentStore.
func (s *Agents) AddVersion(ctx context.Context, a product.Agent, v product.Version) (
	stored product.Agent, version product.Version, added bool, err error,
) {
	err = s.db.transact(ctx, func(tx *gorm.DB) error {
		stored, version, added, err = s.addVersion(tx, a, v)
		return err
	})
	if err != nil {
		return product.Agent{}, product.Version{}, false,
			s.db.interpret(err, fmt.Sprintf("add version %s of agent %s", v.Number, a.FullName()))
	}
	return stored, version, added, nil
}

func (s *Agents) addVersion(tx *gorm.DB, a product.Agent, v product.Version) (product.Agent, product.Version, bool, error) {
	fail := func(err error) (product.Agent, product.Version, bool, error) {
		return product.Agent{}, product.Version{}, false, err
	}
	if err := tx.Exec(insertAgent, a.ID, a.OrgID, a.Publisher, a.Name, at(a.CreatedAt), at(v.CreatedAt)).Error; err != nil {
		return fail(err)
	}
	var agent agentRow
	if err := tx.Raw(lockAgent[s.db.dialect], a.Publisher, a.Name).Take(&agent).Error; err != nil {
		return fail(err)
	}
	if agent.OrgID != string(a.OrgID) {
		return fail(fault.Newf(fault.Conflict, "agent_taken", "the agent %s belongs to another organization", a.FullName()))
	}
	v.AgentID = ids.Agent(agent.ID)

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
				"version %s of %s is published with another content; a version never changes", v.Number, a.FullName()))
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
		if err := tx.Select("Summary", "SearchText", "LatestVersionID", "Latest", "UpdatedAt").Updates(&agent).Error; err != nil {
			return fail(err)
		}
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

// AgentByName implements product.AgentStore.
func (s *Agents) AgentByName(ctx context.Context, publisher, name string) (product.Agent, error) {
	var row agentRow
	err := s.db.read.WithContext(ctx).Where("publisher = ? AND name = ?", publisher, name).Take(&row).Error
	if err != nil {
		return product.Agent{}, s.db.lookup(err, "agent", publisher+"/"+name)
	}
	return agentFromRow(row), nil
}

// AgentsFor implements product.AgentStore.
func (s *Agents) AgentsFor(ctx context.Context, org ids.Org, q product.AgentQuery) ([]product.Agent, error) {
	query := s.db.read.WithContext(ctx).Table("agents").
		Joins("JOIN entitlements ON entitlements.agent_id = agents.id").
		Where("entitlements.org_id = ?", org)
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
