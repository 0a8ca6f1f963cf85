package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var _ marketplace.InvitationStore = (*Marketplace)(nil)

type invitationRow struct {
	ID         string
	OrgID      string
	Email      string
	Role       string
	SecretHash []byte
	CreatedBy  string
	CreatedAt  stamp
	ExpiresAt  stamp
	AcceptedAt stamp
	RevokedAt  stamp
}

func (invitationRow) TableName() string { return "invitations" }

func rowFromInvitation(i marketplace.Invitation) invitationRow {
	return invitationRow{
		ID: string(i.ID), OrgID: string(i.OrgID), Email: i.Email, Role: string(i.Role),
		SecretHash: slices.Clone(i.SecretHash[:]), CreatedBy: i.CreatedBy, CreatedAt: at(i.CreatedAt),
		ExpiresAt: at(i.ExpiresAt), AcceptedAt: at(i.AcceptedAt), RevokedAt: at(i.RevokedAt),
	}
}

func invitationFromRow(r invitationRow) (marketplace.Invitation, error) {
	i := marketplace.Invitation{
		ID: ids.Invitation(r.ID), OrgID: ids.Org(r.OrgID), Email: r.Email, Role: marketplace.Role(r.Role),
		CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt.t,
		ExpiresAt: r.ExpiresAt.t, AcceptedAt: r.AcceptedAt.t, RevokedAt: r.RevokedAt.t,
	}
	if copy(i.SecretHash[:], r.SecretHash) != len(i.SecretHash) {
		return marketplace.Invitation{}, fmt.Errorf("load invitation %s: its hash has %d bytes", r.ID, len(r.SecretHash))
	}
	return i, nil
}

// invitationEntry is an invitation in the audit log: without its hash.
type invitationEntry struct {
	Email      string    `json:"email"`
	Role       string    `json:"role"`
	ExpiresAt  time.Time `json:"expires_at"`
	AcceptedAt time.Time `json:"accepted_at,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
}

func (r invitationRow) entry() invitationEntry {
	return invitationEntry{r.Email, r.Role, r.ExpiresAt.t, r.AcceptedAt.t, r.RevokedAt.t}
}

// CreateInvitation implements marketplace.InvitationStore.
func (s *Marketplace) CreateInvitation(ctx context.Context, by audit.Actor, i marketplace.Invitation) error {
	return s.db.change(ctx, "create invitation "+string(i.ID), func(tx *gorm.DB) error {
		row := rowFromInvitation(i)
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, i.OrgID, "invitation.create", row.ID, nil, row.entry(), i.CreatedAt)
	})
}

// Invitation implements marketplace.InvitationStore.
func (s *Marketplace) Invitation(ctx context.Context, id ids.Invitation) (marketplace.Invitation, error) {
	var row invitationRow
	if err := s.db.read.WithContext(ctx).Where("id = ?", id).Take(&row).Error; err != nil {
		return marketplace.Invitation{}, s.db.lookup(err, "invitation", string(id))
	}
	return invitationFromRow(row)
}

// Invitations implements marketplace.InvitationStore.
func (s *Marketplace) Invitations(ctx context.Context, org ids.Org, before ids.Invitation, limit int) ([]marketplace.Invitation, error) {
	var rows []invitationRow
	err := s.db.read.WithContext(ctx).Where("org_id = ? AND id < ?", org, lastOf(before)).
		Order("id DESC").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list invitations of organization "+string(org))
	}
	invitations := make([]marketplace.Invitation, len(rows))
	for i, row := range rows {
		if invitations[i], err = invitationFromRow(row); err != nil {
			return nil, err
		}
	}
	return invitations, nil
}

// lockInvitation makes rivals wait who want the same invitation, so that it is
// used once.
const lockInvitation = selectInvitation + ` WHERE id = ?`

// lockInvitationsBy does so for those that somebody made and that can still be
// accepted.
const lockInvitationsBy = selectInvitation + `
WHERE org_id = ? AND created_by = ? AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > ? ORDER BY id`

const selectInvitation = `
SELECT id, org_id, email, role, secret_hash, created_by, created_at, expires_at, accepted_at, revoked_at FROM invitations`

func (s *Marketplace) invitationIn(tx *gorm.DB, id ids.Invitation) (invitationRow, error) {
	var rows []invitationRow
	if err := tx.Raw(lockInvitation+forUpdate[s.db.dialect], id).Scan(&rows).Error; err != nil {
		return invitationRow{}, err
	}
	if len(rows) == 0 {
		return invitationRow{}, notFound("invitation", string(id))
	}
	return rows[0], nil
}

// RevokeInvitation implements marketplace.InvitationStore.
func (s *Marketplace) RevokeInvitation(ctx context.Context, by audit.Actor, org ids.Org, id ids.Invitation, now time.Time) error {
	return s.db.change(ctx, "revoke invitation "+string(id), func(tx *gorm.DB) error {
		row, err := s.invitationIn(tx, id)
		if err != nil {
			return err
		}
		over := !row.AcceptedAt.t.IsZero() || !row.RevokedAt.t.IsZero() || !now.Before(row.ExpiresAt.t)
		if row.OrgID != string(org) || over {
			return notFound("invitation", string(id))
		}
		return revokeInvitations(tx, by, []invitationRow{row}, now)
	})
}

// invitationsBy locks the invitations of a person that can still be accepted. It
// comes before the lock of the organization, as where one is accepted.
func (s *Marketplace) invitationsBy(tx *gorm.DB, org ids.Org, user ids.User, now time.Time) (rows []invitationRow, err error) {
	err = tx.Raw(lockInvitationsBy+forUpdate[s.db.dialect], org, user, at(now)).Scan(&rows).Error
	return rows, err
}

// revokeInvitations takes locked invitations back.
func revokeInvitations(tx *gorm.DB, by audit.Actor, rows []invitationRow, now time.Time) error {
	for _, row := range rows {
		before := row.entry()
		row.RevokedAt = at(now)
		if err := tx.Select("RevokedAt").Updates(&row).Error; err != nil {
			return err
		}
		if err := writeAudit(tx, by, ids.Org(row.OrgID), "invitation.revoke", row.ID, before, row.entry(), now); err != nil {
			return err
		}
	}
	return nil
}

// AcceptInvitation implements marketplace.InvitationStore. The person becomes a
// member under the address that was invited, in the role that was offered.
func (s *Marketplace) AcceptInvitation(ctx context.Context, requestID string, id ids.Invitation, check func(marketplace.Invitation) error,
	user marketplace.User, key marketplace.APIKey, now time.Time,
) (member marketplace.Member, stored marketplace.APIKey, err error) {
	err = s.db.change(ctx, "accept invitation "+string(id), func(tx *gorm.DB) error {
		row, err := s.invitationIn(tx, id)
		if err != nil {
			return err
		}
		invitation, err := invitationFromRow(row)
		if err != nil {
			return err
		}
		if err := check(invitation); err != nil {
			return refuse(err)
		}
		if err := s.lockOrg(tx, invitation.OrgID); err != nil {
			return err
		}
		user := user
		user.Email = invitation.Email
		if user, err = ensureUser(tx, user); err != nil {
			return err
		}
		by := audit.Actor{Kind: audit.KindUser, ID: string(user.ID), Org: invitation.OrgID, RequestID: requestID}
		member, err = addMember(tx, by, marketplace.Member{OrgID: invitation.OrgID, User: user, Role: invitation.Role, JoinedAt: now})
		if err != nil {
			return err
		}
		stored = key
		stored.OrgID, stored.UserID, stored.Role = invitation.OrgID, user.ID, invitation.Role
		if err := createKey(tx, by, stored); err != nil {
			return err
		}
		before := row.entry()
		row.AcceptedAt = at(now)
		if err := tx.Select("AcceptedAt").Updates(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, invitation.OrgID, "invitation.accept", row.ID, before, row.entry(), now)
	})
	if err != nil {
		return marketplace.Member{}, marketplace.APIKey{}, err
	}
	return member, stored, nil
}
