package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var _ marketplace.KeyStore = (*Marketplace)(nil)

type apiKeyRow struct {
	ID         string
	OrgID      string
	UserID     string // empty: a program's
	Role       string
	Name       string
	Prefix     string
	SecretHash []byte
	Scopes     document[[]marketplace.Scope]
	CreatedAt  stamp
	ExpiresAt  stamp
	RevokedAt  stamp
	LastUsedAt stamp
	RotatedTo  string
}

func (apiKeyRow) TableName() string { return "api_keys" }

func rowFromAPIKey(k marketplace.APIKey) apiKeyRow {
	return apiKeyRow{
		ID: string(k.ID), OrgID: string(k.OrgID), UserID: string(k.UserID), Role: string(k.Role),
		Name: k.Name, Prefix: k.Prefix, SecretHash: slices.Clone(k.SecretHash[:]),
		// Never null: a key without scopes may do nothing.
		Scopes:    documentOf(append([]marketplace.Scope{}, k.Scopes...)),
		CreatedAt: at(k.CreatedAt), ExpiresAt: at(k.ExpiresAt), RevokedAt: at(k.RevokedAt),
		LastUsedAt: at(k.LastUsedAt), RotatedTo: string(k.RotatedTo),
	}
}

func apiKeyFromRow(r apiKeyRow) (marketplace.APIKey, error) {
	k := marketplace.APIKey{
		ID: ids.Key(r.ID), OrgID: ids.Org(r.OrgID), UserID: ids.User(r.UserID), Role: marketplace.Role(r.Role),
		Name: r.Name, Prefix: r.Prefix,
		CreatedAt: r.CreatedAt.t, ExpiresAt: r.ExpiresAt.t, RevokedAt: r.RevokedAt.t,
		LastUsedAt: r.LastUsedAt.t, RotatedTo: ids.Key(r.RotatedTo),
	}
	if r.Scopes.value == nil || copy(k.SecretHash[:], r.SecretHash) != len(k.SecretHash) {
		return marketplace.APIKey{}, fmt.Errorf("load API key %s: scopes are missing, or the hash has %d bytes", r.ID, len(r.SecretHash))
	}
	k.Scopes = *r.Scopes.value
	return k, nil
}

// keyEntry is an API key in the audit log: without its hash.
type keyEntry struct {
	UserID    string              `json:"user_id,omitempty"`
	Role      string              `json:"role"`
	Name      string              `json:"name"`
	Prefix    string              `json:"prefix"`
	Scopes    []marketplace.Scope `json:"scopes"`
	ExpiresAt time.Time           `json:"expires_at,omitzero"`
	RevokedAt time.Time           `json:"revoked_at,omitzero"`
	RotatedTo string              `json:"rotated_to,omitempty"`
}

func (r apiKeyRow) entry() keyEntry {
	return keyEntry{r.UserID, r.Role, r.Name, r.Prefix, *r.Scopes.value, r.ExpiresAt.t, r.RevokedAt.t, r.RotatedTo}
}

// CreateAPIKey implements marketplace.KeyStore.
func (s *Marketplace) CreateAPIKey(ctx context.Context, by audit.Actor, key marketplace.APIKey) error {
	return s.db.change(ctx, "create API key "+string(key.ID), func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, key.OrgID); err != nil {
			return err
		}
		if key.UserID != "" {
			if _, err := memberIn(tx, key.OrgID, key.UserID); err != nil {
				return err
			}
		}
		return createKey(tx, by, key)
	})
}

// createKey stores a key within the bound of its organization, whose lock is held.
func createKey(tx *gorm.DB, by audit.Actor, key marketplace.APIKey) error {
	var working int64
	err := tx.Model(&apiKeyRow{}).Where("org_id = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
		key.OrgID, at(key.CreatedAt)).Count(&working).Error
	if err != nil {
		return err
	}
	if working >= marketplace.MaxKeys {
		return tooMany("API keys that work", marketplace.MaxKeys)
	}
	row := rowFromAPIKey(key)
	err = tx.Create(&row).Error
	if uniqueViolated(err) {
		return fault.New(fault.Conflict, "key_taken", "there is already an API key with this identifier or prefix")
	}
	if err != nil {
		return err
	}
	return writeAudit(tx, by, key.OrgID, "key.create", row.ID, nil, row.entry(), key.CreatedAt)
}

// tooMany refuses what an organization has the most of that it may have.
func tooMany(what string, most int) error {
	return fault.Newf(fault.Conflict, "too_many", "the organization has %d %s, and may not have more", most, what)
}

// RotateAPIKey implements marketplace.KeyStore.
func (s *Marketplace) RotateAPIKey(ctx context.Context, by audit.Actor, old, next marketplace.APIKey) error {
	return s.db.change(ctx, "rotate API key "+string(old.ID), func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, old.OrgID); err != nil {
			return err
		}
		before, err := keyIn(tx, old.OrgID, old.ID)
		if err != nil {
			return err
		}
		if before.RotatedTo != "" || !before.RevokedAt.t.IsZero() {
			return fault.New(fault.Conflict, "key_state", "the API key was rotated or revoked before")
		}
		if before.UserID != "" {
			if _, err := memberIn(tx, old.OrgID, ids.User(before.UserID)); err != nil {
				return err
			}
		}
		after := before
		after.RotatedTo, after.ExpiresAt = string(next.ID), at(old.ExpiresAt)
		if err := tx.Select("RotatedTo", "ExpiresAt").Updates(&after).Error; err != nil {
			return err
		}
		if err := writeAudit(tx, by, old.OrgID, "key.rotate", before.ID, before.entry(), after.entry(), next.CreatedAt); err != nil {
			return err
		}
		return createKey(tx, by, next)
	})
}

// RevokeAPIKey implements marketplace.KeyStore.
func (s *Marketplace) RevokeAPIKey(ctx context.Context, by audit.Actor, org ids.Org, id ids.Key, now time.Time) error {
	return s.db.change(ctx, "revoke API key "+string(id), func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, org); err != nil {
			return err
		}
		key, err := keyIn(tx, org, id)
		if err != nil || !key.RevokedAt.t.IsZero() {
			return err
		}
		return revokeKey(tx, by, key, now)
	})
}

// revokeKey ends a key. The lock of its organization is held.
func revokeKey(tx *gorm.DB, by audit.Actor, key apiKeyRow, now time.Time) error {
	before := key.entry()
	key.RevokedAt = at(now)
	if err := tx.Select("RevokedAt").Updates(&key).Error; err != nil {
		return err
	}
	return writeAudit(tx, by, ids.Org(key.OrgID), "key.revoke", key.ID, before, key.entry(), now)
}

// keyIn loads a key of an organization.
func keyIn(tx *gorm.DB, org ids.Org, id ids.Key) (apiKeyRow, error) {
	var rows []apiKeyRow
	if err := tx.Where("id = ? AND org_id = ?", id, org).Limit(1).Find(&rows).Error; err != nil {
		return apiKeyRow{}, err
	}
	if len(rows) == 0 {
		return apiKeyRow{}, notFound("key", string(id))
	}
	return rows[0], nil
}
