package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var _ marketplace.MemberStore = (*Marketplace)(nil)

type userRow struct {
	ID        string
	Email     string
	Name      string
	CreatedAt stamp
}

func (userRow) TableName() string { return "users" }

func userFromRow(r userRow) marketplace.User {
	return marketplace.User{ID: ids.User(r.ID), Email: r.Email, Name: r.Name, CreatedAt: r.CreatedAt.t}
}

type memberRow struct {
	OrgID    string `gorm:"primaryKey"`
	UserID   string `gorm:"primaryKey"`
	Role     string
	JoinedAt stamp
}

func (memberRow) TableName() string { return "members" }

// memberDetails is a member as queries read her.
type memberDetails struct {
	Member        memberRow `gorm:"embedded"`
	Email         string
	Name          string
	UserCreatedAt stamp
	Teams         *string // identifiers with commas
}

// memberColumns are those of memberDetails for membersWith.
const memberColumns = `m.org_id, m.user_id, m.role, m.joined_at, u.email, u.name, u.created_at AS user_created_at,
    (SELECT string_agg(t.team_id, ',' ORDER BY t.team_id) FROM team_members AS t
     WHERE t.org_id = m.org_id AND t.user_id = m.user_id) AS teams`

// membersWith begins a query of the members of an organization.
func membersWith(db *gorm.DB, org ids.Org) *gorm.DB {
	return db.Table("members AS m").Select(memberColumns).Joins("JOIN users AS u ON u.id = m.user_id").Where("m.org_id = ?", org)
}

func memberFromDetails(d memberDetails) marketplace.Member {
	return marketplace.Member{
		OrgID: ids.Org(d.Member.OrgID),
		User:  marketplace.User{ID: ids.User(d.Member.UserID), Email: d.Email, Name: d.Name, CreatedAt: d.UserCreatedAt.t},
		Role:  marketplace.Role(d.Member.Role), Teams: listOf[ids.Team](d.Teams), JoinedAt: d.Member.JoinedAt.t,
	}
}

// memberEntry is a member in the audit log.
type memberEntry struct {
	Email string           `json:"email"`
	Name  string           `json:"name"`
	Role  marketplace.Role `json:"role"`
	Teams []ids.Team       `json:"teams,omitempty"`
}

func entryOfMember(m marketplace.Member) memberEntry {
	return memberEntry{m.User.Email, m.User.Name, m.Role, m.Teams}
}

// Members implements marketplace.MemberStore.
func (s *Marketplace) Members(ctx context.Context, org ids.Org, before ids.User, limit int) ([]marketplace.Member, error) {
	var rows []memberDetails
	err := membersWith(s.db.read.WithContext(ctx), org).Where("m.user_id < ?", lastOf(before)).
		Order("m.user_id DESC").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list members of organization "+string(org))
	}
	members := make([]marketplace.Member, len(rows))
	for i, row := range rows {
		members[i] = memberFromDetails(row)
	}
	return members, nil
}

// Member implements marketplace.MemberStore.
func (s *Marketplace) Member(ctx context.Context, org ids.Org, user ids.User) (marketplace.Member, error) {
	m, err := memberIn(s.db.read.WithContext(ctx), org, user)
	return m, s.db.interpret(err, "load member "+string(user))
}

// memberIn loads a member; fault.NotFound.
func memberIn(db *gorm.DB, org ids.Org, user ids.User) (marketplace.Member, error) {
	return oneMember(membersWith(db, org).Where("m.user_id = ?", user), string(user))
}

// MemberByEmail implements marketplace.MemberStore.
func (s *Marketplace) MemberByEmail(ctx context.Context, org ids.Org, email string) (marketplace.Member, error) {
	m, err := oneMember(membersWith(s.db.read.WithContext(ctx), org).Where("u.email = ?", email), "with this address")
	return m, s.db.interpret(err, "load member of organization "+string(org))
}

func oneMember(query *gorm.DB, name string) (marketplace.Member, error) {
	var rows []memberDetails
	if err := query.Limit(1).Find(&rows).Error; err != nil {
		return marketplace.Member{}, err
	}
	if len(rows) == 0 {
		return marketplace.Member{}, notFound("member", name)
	}
	return memberFromDetails(rows[0]), nil
}

// AddMember implements marketplace.MemberStore.
func (s *Marketplace) AddMember(ctx context.Context, by audit.Actor, m marketplace.Member) (marketplace.Member, error) {
	var added marketplace.Member
	err := s.db.change(ctx, "add member to organization "+string(m.OrgID), func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, m.OrgID); err != nil {
			return err
		}
		user, err := ensureUser(tx, m.User)
		if err != nil {
			return err
		}
		added, err = addMember(tx, by, marketplace.Member{OrgID: m.OrgID, User: user, Role: m.Role, JoinedAt: m.JoinedAt})
		return err
	})
	return added, err
}

// insertUser makes sure that there is a person with the address. A rival's insert
// that is not committed yet makes PostgreSQL wait for its end.
const insertUser = `
INSERT INTO users (id, email, name, created_at) VALUES (?, ?, ?, ?)
ON CONFLICT (email) DO NOTHING`

// ensureUser stores a person, or finds the one who has the address. She keeps the
// name that she has.
func ensureUser(tx *gorm.DB, u marketplace.User) (marketplace.User, error) {
	if err := tx.Exec(insertUser, u.ID, u.Email, u.Name, at(u.CreatedAt)).Error; err != nil {
		return marketplace.User{}, err
	}
	var row userRow
	err := tx.Where("email = ?", u.Email).Take(&row).Error
	return userFromRow(row), err
}

// addMember makes a stored person a member. The lock of the organization is held.
func addMember(tx *gorm.DB, by audit.Actor, m marketplace.Member) (marketplace.Member, error) {
	row := memberRow{OrgID: string(m.OrgID), UserID: string(m.User.ID), Role: string(m.Role), JoinedAt: at(m.JoinedAt)}
	err := tx.Create(&row).Error
	if uniqueViolated(err) {
		return marketplace.Member{}, fault.Newf(fault.Conflict, "member_exists", "%s is a member already", m.User.Email)
	}
	if err != nil {
		return marketplace.Member{}, err
	}
	m.JoinedAt = row.JoinedAt.t
	return m, writeAudit(tx, by, m.OrgID, "member.add", row.UserID, nil, entryOfMember(m), m.JoinedAt)
}

// SetRole implements marketplace.MemberStore.
func (s *Marketplace) SetRole(ctx context.Context, by audit.Actor, org ids.Org, user ids.User, role marketplace.Role, now time.Time) (marketplace.Member, error) {
	var changed marketplace.Member
	err := s.db.change(ctx, "change role of member "+string(user), func(tx *gorm.DB) error {
		invitations, err := s.invitationsBy(tx, org, user, now)
		if err != nil {
			return err
		}
		if err := s.lockOrg(tx, org); err != nil {
			return err
		}
		before, err := memberIn(tx, org, user)
		if err != nil {
			return err
		}
		changed = before
		if before.Role == role {
			return nil
		}
		if err := keepOwner(tx, before); err != nil {
			return err
		}
		changed.Role = role
		row := memberRow{OrgID: string(org), UserID: string(user), Role: string(role)}
		if err := tx.Select("Role").Updates(&row).Error; err != nil {
			return err
		}
		if err := revokeInvitations(tx, by, invitations, now); err != nil {
			return err
		}
		return writeAudit(tx, by, org, "member.set_role", string(user), entryOfMember(before), entryOfMember(changed), now)
	})
	if err != nil {
		return marketplace.Member{}, err
	}
	return changed, nil
}

// keepOwner refuses to take the last owner away. The lock of the organization is
// held, so that of two owners only one can go at a time.
func keepOwner(tx *gorm.DB, leaving marketplace.Member) error {
	if leaving.Role != marketplace.RoleOwner {
		return nil
	}
	var owners int64
	err := tx.Model(&memberRow{}).Where("org_id = ? AND role = ?", leaving.OrgID, marketplace.RoleOwner).Count(&owners).Error
	if err == nil && owners < 2 {
		err = fault.New(fault.Conflict, "last_owner", "the organization must keep an owner; give the role to somebody else first")
	}
	return err
}

// RemoveMember implements marketplace.MemberStore.
func (s *Marketplace) RemoveMember(ctx context.Context, by audit.Actor, org ids.Org, user ids.User, now time.Time) error {
	return s.db.change(ctx, "remove member "+string(user), func(tx *gorm.DB) error {
		invitations, err := s.invitationsBy(tx, org, user, now)
		if err != nil {
			return err
		}
		if err := s.lockOrg(tx, org); err != nil {
			return err
		}
		leaving, err := memberIn(tx, org, user)
		if err != nil {
			return err
		}
		if err := keepOwner(tx, leaving); err != nil {
			return err
		}
		var keys []apiKeyRow
		err = tx.Where("org_id = ? AND user_id = ? AND user_id <> '' AND revoked_at IS NULL", org, user).Order("id").Find(&keys).Error
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := revokeKey(tx, by, key, now); err != nil {
				return err
			}
		}
		if err := revokeInvitations(tx, by, invitations, now); err != nil {
			return err
		}
		for _, row := range []any{&teamMemberRow{}, &memberRow{}} {
			if err := tx.Where("org_id = ? AND user_id = ?", org, user).Delete(row).Error; err != nil {
				return err
			}
		}
		return writeAudit(tx, by, org, "member.remove", string(user), entryOfMember(leaving), nil, now)
	})
}
