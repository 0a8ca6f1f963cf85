package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var _ marketplace.GrantStore = (*Marketplace)(nil)

type grantRow struct {
	ID        string
	AgentID   string
	OrgID     string
	TeamID    string
	UserID    string
	Access    string
	CreatedBy string
	CreatedAt stamp
	ExpiresAt stamp
	RevokedAt stamp
}

func (grantRow) TableName() string { return "grants" }

func rowFromGrant(g marketplace.Grant) grantRow {
	return grantRow{
		ID: string(g.ID), AgentID: string(g.AgentID), OrgID: string(g.OrgID),
		TeamID: string(g.TeamID), UserID: string(g.UserID), Access: string(g.Access), CreatedBy: g.CreatedBy,
		CreatedAt: at(g.CreatedAt), ExpiresAt: at(g.ExpiresAt), RevokedAt: at(g.RevokedAt),
	}
}

func grantFromRow(r grantRow) marketplace.Grant {
	return marketplace.Grant{
		ID: ids.Grant(r.ID), AgentID: ids.Agent(r.AgentID), OrgID: ids.Org(r.OrgID),
		TeamID: ids.Team(r.TeamID), UserID: ids.User(r.UserID), Access: marketplace.Access(r.Access), CreatedBy: r.CreatedBy,
		CreatedAt: r.CreatedAt.t, ExpiresAt: r.ExpiresAt.t, RevokedAt: r.RevokedAt.t,
	}
}

// grantEntry is a grant in the audit log.
type grantEntry struct {
	AgentID   string    `json:"agent_id"`
	OrgID     string    `json:"org_id"`
	TeamID    string    `json:"team_id,omitempty"`
	UserID    string    `json:"user_id,omitempty"`
	Access    string    `json:"access"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

func (r grantRow) entry() grantEntry {
	return grantEntry{r.AgentID, r.OrgID, r.TeamID, r.UserID, r.Access, r.ExpiresAt.t, r.RevokedAt.t}
}

// clearExpiredGrant makes room for a grant that is given anew after its time: of
// those that were not revoked there is one for each subject.
const clearExpiredGrant = `
UPDATE grants SET revoked_at = expires_at
WHERE agent_id = ? AND org_id = ? AND team_id = ? AND user_id = ? AND access = ?
    AND revoked_at IS NULL AND expires_at <= ?`

// CreateGrant implements marketplace.GrantStore. The publisher's audit log has
// the grant, that of the organization the right that comes with it.
func (s *Marketplace) CreateGrant(ctx context.Context, by audit.Actor, g marketplace.Grant) error {
	row := rowFromGrant(g)
	doing := fmt.Sprintf("grant agent %s to organization %s", g.AgentID, g.OrgID)
	return s.db.change(ctx, doing, func(tx *gorm.DB) error {
		publisher, err := publisherOf(tx, g.AgentID)
		if err != nil {
			return err
		}
		// With this lock no team and no member goes before the grant is there.
		if err := s.lockOrg(tx, g.OrgID); err != nil {
			return err
		}
		if err := requireSubject(tx, g); err != nil {
			return err
		}
		err = tx.Exec(clearExpiredGrant, row.AgentID, row.OrgID, row.TeamID, row.UserID, row.Access, row.CreatedAt).Error
		if err != nil {
			return err
		}
		if err := tx.Create(&row).Error; uniqueViolated(err) {
			return fault.New(fault.Conflict, "grant_exists", "this was granted before, and the grant holds")
		} else if err != nil {
			return err
		}
		if err := writeAudit(tx, by, publisher, "grant.create", row.ID, nil, row.entry(), g.CreatedAt); err != nil {
			return err
		}
		if g.Access != marketplace.AccessRun {
			return nil
		}
		e := marketplace.NewEntitlement(g.OrgID, g.AgentID, marketplace.SourceGrant, g.CreatedAt)
		e.GrantID, e.TeamID, e.UserID, e.ExpiresAt = g.ID, g.TeamID, g.UserID, g.ExpiresAt
		right := rowFromEntitlement(e)
		if err := tx.Create(&right).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, g.OrgID, "entitlement.create", right.ID, nil, right.entry(), g.CreatedAt)
	})
}

func publisherOf(tx *gorm.DB, agent ids.Agent) (ids.Org, error) {
	var row agentRow
	err := tx.Select("org_id").Where("id = ?", agent).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		err = notFound("agent", string(agent))
	}
	return ids.Org(row.OrgID), err
}

// requireSubject checks that a team and a person are of the organization that
// something is granted to.
func requireSubject(tx *gorm.DB, g marketplace.Grant) error {
	if g.TeamID != "" {
		if _, err := teamIn(tx, g.OrgID, g.TeamID); err != nil {
			return err
		}
	}
	if g.UserID == "" {
		return nil
	}
	_, err := memberIn(tx, g.OrgID, g.UserID)
	return err
}

// namedGrantRow is a grant with the name of whom it is given to.
type namedGrantRow struct {
	Grant        grantRow `gorm:"embedded"`
	Organization string
}

const selectGrants = `
SELECT g.id, g.agent_id, g.org_id, g.team_id, g.user_id, g.access, g.created_by, g.created_at, g.expires_at, g.revoked_at,
    o.name AS organization
FROM grants AS g JOIN organizations AS o ON o.id = g.org_id
WHERE g.agent_id = ? AND g.id < ? ORDER BY g.id DESC LIMIT ?`

// Grants implements marketplace.GrantStore.
func (s *Marketplace) Grants(ctx context.Context, agent ids.Agent, before ids.Grant, limit int) ([]marketplace.Grant, error) {
	var rows []namedGrantRow
	if err := s.db.read.WithContext(ctx).Raw(selectGrants, agent, lastOf(before), rowLimit(limit)).Scan(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list grants of agent "+string(agent))
	}
	list := make([]marketplace.Grant, len(rows))
	for i, row := range rows {
		list[i] = grantFromRow(row.Grant)
		list[i].Organization = row.Organization
	}
	return list, nil
}

const selectGrant = `
SELECT id, agent_id, org_id, team_id, user_id, access, created_by, created_at, expires_at, revoked_at
FROM grants WHERE id = ? AND agent_id = ?`

// RevokeGrant implements marketplace.GrantStore.
func (s *Marketplace) RevokeGrant(ctx context.Context, by audit.Actor, agent ids.Agent, id ids.Grant, when time.Time) error {
	return s.db.change(ctx, "revoke grant "+string(id), func(tx *gorm.DB) error {
		publisher, err := publisherOf(tx, agent)
		if err != nil {
			return err
		}
		var before grantRow
		err = tx.Raw(selectGrant+forUpdate[s.db.dialect], id, agent).Take(&before).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return notFound("grant", string(id))
		}
		if err != nil || !before.RevokedAt.t.IsZero() {
			return err
		}
		after := before
		after.RevokedAt = at(when)
		if err := tx.Model(&after).Update("revoked_at", after.RevokedAt).Error; err != nil {
			return err
		}
		if err := writeAudit(tx, by, publisher, "grant.revoke", before.ID, before.entry(), after.entry(), when); err != nil {
			return err
		}
		return revokeRights(tx, by, when, "grant_id = ? AND grant_id <> '' AND revoked_at IS NULL", id)
	})
}

// revokeTeam ends what was granted to a team and the rights that are limited to
// it, when the team is removed.
func revokeTeam(tx *gorm.DB, by audit.Actor, org ids.Org, team ids.Team, when time.Time) error {
	err := tx.Model(&grantRow{}).Where("org_id = ? AND team_id = ? AND revoked_at IS NULL", org, team).
		Update("revoked_at", at(when)).Error
	if err != nil {
		return err
	}
	return revokeRights(tx, by, when, "org_id = ? AND team_id = ? AND revoked_at IS NULL", org, team)
}

// revokeRights ends the rights that a condition selects, one after the other by
// identifier, as everybody who locks several of them. A subscription is not paid
// again.
func revokeRights(tx *gorm.DB, by audit.Actor, when time.Time, condition string, values ...any) error {
	var rows []entitlementRow
	if err := tx.Where(condition, values...).Order("id").Find(&rows).Error; err != nil {
		return err
	}
	for _, before := range rows {
		after := before
		after.RevokedAt, after.Renews = at(when), false
		if err := tx.Select("RevokedAt", "Renews").Updates(&after).Error; err != nil {
			return err
		}
		err := writeAudit(tx, by, ids.Org(before.OrgID), "entitlement.revoke", before.ID, before.entry(), after.entry(), when)
		if err != nil {
			return err
		}
	}
	return nil
}
