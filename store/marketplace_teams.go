package store

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

var _ marketplace.TeamStore = (*Marketplace)(nil)

type teamRow struct {
	ID        string
	OrgID     string
	Name      string
	CreatedAt stamp
}

func (teamRow) TableName() string { return "teams" }

type teamMemberRow struct {
	TeamID string `gorm:"primaryKey"`
	OrgID  string
	UserID string `gorm:"primaryKey"`
}

func (teamMemberRow) TableName() string { return "team_members" }

// teamEntry is a team in the audit log, with the member whom a change is about.
type teamEntry struct {
	Name   string   `json:"name"`
	UserID ids.User `json:"user_id,omitempty"`
}

// CreateTeam implements marketplace.TeamStore.
func (s *Marketplace) CreateTeam(ctx context.Context, by audit.Actor, t marketplace.Team) error {
	return s.db.change(ctx, "create team "+t.Name, func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, t.OrgID); err != nil {
			return err
		}
		var teams int64
		if err := tx.Model(&teamRow{}).Where("org_id = ?", t.OrgID).Count(&teams).Error; err != nil {
			return err
		}
		if teams >= marketplace.MaxTeams {
			return tooMany("teams", marketplace.MaxTeams)
		}
		row := teamRow{ID: string(t.ID), OrgID: string(t.OrgID), Name: t.Name, CreatedAt: at(t.CreatedAt)}
		err := tx.Create(&row).Error
		if uniqueViolated(err) {
			return fault.Newf(fault.Conflict, "team_taken", "there is already a team named %s", t.Name)
		}
		if err != nil {
			return err
		}
		return writeAudit(tx, by, t.OrgID, "team.create", row.ID, nil, teamEntry{Name: t.Name}, t.CreatedAt)
	})
}

// teamColumns are a team as t with the identifiers of its members, with commas.
const teamColumns = `t.id, t.org_id, t.name, t.created_at,
    (SELECT string_agg(m.user_id, ',' ORDER BY m.user_id) FROM team_members AS m WHERE m.team_id = t.id) AS members`

// teamsWith queries teams of an organization with their members, by name.
func teamsWith(db *gorm.DB, org ids.Org, condition string, values ...any) ([]marketplace.Team, error) {
	var rows []struct {
		Team    teamRow `gorm:"embedded"`
		Members *string
	}
	query := db.Table("teams AS t").Select(teamColumns).Where("t.org_id = ?", org)
	if condition != "" {
		query = query.Where(condition, values...)
	}
	if err := query.Order("t.name").Find(&rows).Error; err != nil {
		return nil, err
	}
	teams := make([]marketplace.Team, len(rows))
	for i, row := range rows {
		teams[i] = marketplace.Team{
			ID: ids.Team(row.Team.ID), OrgID: ids.Org(row.Team.OrgID), Name: row.Team.Name,
			Members: listOf[ids.User](row.Members), CreatedAt: row.Team.CreatedAt.t,
		}
	}
	return teams, nil
}

// Teams implements marketplace.TeamStore.
func (s *Marketplace) Teams(ctx context.Context, org ids.Org) ([]marketplace.Team, error) {
	teams, err := teamsWith(s.db.read.WithContext(ctx), org, "")
	return teams, s.db.interpret(err, "list teams of organization "+string(org))
}

// teamIn loads a team of an organization; fault.NotFound.
func teamIn(tx *gorm.DB, org ids.Org, id ids.Team) (marketplace.Team, error) {
	teams, err := teamsWith(tx, org, "t.id = ?", id)
	if err != nil {
		return marketplace.Team{}, err
	}
	if len(teams) == 0 {
		return marketplace.Team{}, notFound("team", string(id))
	}
	return teams[0], nil
}

// SetTeamMember implements marketplace.TeamStore.
func (s *Marketplace) SetTeamMember(ctx context.Context, by audit.Actor, org ids.Org, team ids.Team, user ids.User, in bool, now time.Time) (marketplace.Team, error) {
	var changed marketplace.Team
	err := s.db.change(ctx, "change team "+string(team), func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, org); err != nil {
			return err
		}
		before, err := teamIn(tx, org, team)
		if err != nil {
			return err
		}
		if _, err := memberIn(tx, org, user); err != nil {
			return err
		}
		if err := setTeamMember(tx, by, before, user, in, now); err != nil {
			return err
		}
		changed, err = teamIn(tx, org, team)
		return err
	})
	if err != nil {
		return marketplace.Team{}, err
	}
	return changed, nil
}

// setTeamMember does what is left to do. The lock of the organization is held.
func setTeamMember(tx *gorm.DB, by audit.Actor, t marketplace.Team, user ids.User, in bool, now time.Time) error {
	shape := teamEntry{Name: t.Name, UserID: user}
	switch was := slices.Contains(t.Members, user); {
	case was == in:
		return nil
	case in && len(t.Members) >= marketplace.MaxTeamSize:
		return fault.Newf(fault.Conflict, "too_many", "the team has %d members, and may not have more", len(t.Members))
	case in:
		row := teamMemberRow{TeamID: string(t.ID), OrgID: string(t.OrgID), UserID: string(user)}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, t.OrgID, "team.add_member", string(t.ID), nil, shape, now)
	default:
		if err := tx.Where("team_id = ? AND user_id = ?", t.ID, user).Delete(&teamMemberRow{}).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, t.OrgID, "team.remove_member", string(t.ID), shape, nil, now)
	}
}

// DeleteTeam implements marketplace.TeamStore.
func (s *Marketplace) DeleteTeam(ctx context.Context, by audit.Actor, org ids.Org, team ids.Team, now time.Time) error {
	return s.db.change(ctx, "delete team "+string(team), func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, org); err != nil {
			return err
		}
		before, err := teamIn(tx, org, team)
		if err != nil {
			return err
		}
		if err := revokeTeam(tx, by, org, team, now); err != nil {
			return err
		}
		if err := tx.Where("team_id = ?", team).Delete(&teamMemberRow{}).Error; err != nil {
			return err
		}
		if err := tx.Where("org_id = ? AND kind = ? AND id = ?", org, product.ScopeTeam, team).Delete(&policyRow{}).Error; err != nil {
			return err
		}
		if err := tx.Where("scope = ?", scopeKey(product.Scope{Kind: product.ScopeTeam, ID: string(team)})).Delete(&limitRow{}).Error; err != nil {
			return err
		}
		if err := tx.Where("id = ?", team).Delete(&teamRow{}).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, org, "team.delete", string(team), teamEntry{Name: before.Name}, nil, now)
	})
}
