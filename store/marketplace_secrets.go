package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var _ marketplace.SecretStore = (*Marketplace)(nil)

type secretRow struct {
	OrgID     string `gorm:"primaryKey"`
	Name      string `gorm:"primaryKey"`
	Sealed    []byte
	Version   int64
	CreatedAt stamp
	UpdatedAt stamp
}

func (secretRow) TableName() string { return "secrets" }

func secretFromRow(r secretRow) marketplace.Secret {
	return marketplace.Secret{
		OrgID: ids.Org(r.OrgID), Name: r.Name, Sealed: r.Sealed, Version: r.Version,
		CreatedAt: r.CreatedAt.t, UpdatedAt: r.UpdatedAt.t,
	}
}

// secretEntry is a secret in the audit log.
type secretEntry struct {
	Version int64 `json:"version"`
}

// PutSecret implements marketplace.SecretStore.
func (s *Marketplace) PutSecret(ctx context.Context, by audit.Actor, secret marketplace.Secret) (marketplace.Secret, error) {
	var after secretRow
	err := s.db.change(ctx, "store secret "+secret.Name, func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, secret.OrgID); err != nil {
			return err
		}
		after = secretRow{
			OrgID: string(secret.OrgID), Name: secret.Name, Sealed: secret.Sealed, Version: 1,
			CreatedAt: at(secret.UpdatedAt), UpdatedAt: at(secret.UpdatedAt),
		}
		var before []secretRow
		if err := tx.Where("org_id = ? AND name = ?", secret.OrgID, secret.Name).Find(&before).Error; err != nil {
			return err
		}
		if len(before) > 0 {
			after.Version, after.CreatedAt = before[0].Version+1, before[0].CreatedAt
			if err := tx.Save(&after).Error; err != nil {
				return err
			}
			return writeAudit(tx, by, secret.OrgID, "secret.update", secret.Name, secretEntry{before[0].Version}, secretEntry{after.Version}, secret.UpdatedAt)
		}
		var secrets int64
		if err := tx.Model(&secretRow{}).Where("org_id = ?", secret.OrgID).Count(&secrets).Error; err != nil {
			return err
		}
		if secrets >= marketplace.MaxSecrets {
			return fault.Newf(fault.Conflict, "too_many_secrets", "the organization has %d secrets, and may not have more", marketplace.MaxSecrets)
		}
		if err := tx.Create(&after).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, secret.OrgID, "secret.create", secret.Name, nil, secretEntry{1}, secret.UpdatedAt)
	})
	if err != nil {
		return marketplace.Secret{}, err
	}
	return secretFromRow(after), nil
}

// Secrets implements marketplace.SecretStore.
func (s *Marketplace) Secrets(ctx context.Context, org ids.Org) ([]marketplace.Secret, error) {
	var rows []secretRow
	err := s.db.read.WithContext(ctx).Select("org_id", "name", "version", "created_at", "updated_at").
		Where("org_id = ?", org).Order("name").Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list secrets of organization "+string(org))
	}
	secrets := make([]marketplace.Secret, len(rows))
	for i, row := range rows {
		secrets[i] = secretFromRow(row)
	}
	return secrets, nil
}

// Secret implements marketplace.SecretStore.
func (s *Marketplace) Secret(ctx context.Context, org ids.Org, name string) (marketplace.Secret, error) {
	var row secretRow
	if err := s.db.read.WithContext(ctx).Where("org_id = ? AND name = ?", org, name).Take(&row).Error; err != nil {
		return marketplace.Secret{}, s.db.lookup(err, "secret", name)
	}
	return secretFromRow(row), nil
}

// SealedSecrets implements marketplace.SecretStore.
func (s *Marketplace) SealedSecrets(ctx context.Context, after marketplace.Secret, limit int) ([]marketplace.Secret, error) {
	var rows []secretRow
	err := s.db.read.WithContext(ctx).Where("(org_id, name) > (?, ?)", after.OrgID, after.Name).
		Order("org_id, name").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list secrets")
	}
	secrets := make([]marketplace.Secret, len(rows))
	for i, row := range rows {
		secrets[i] = secretFromRow(row)
	}
	return secrets, nil
}

// ResealSecret implements marketplace.SecretStore.
func (s *Marketplace) ResealSecret(ctx context.Context, secret marketplace.Secret, sealed []byte) (done bool, err error) {
	err = s.db.change(ctx, "reseal secret "+secret.Name, func(tx *gorm.DB) error {
		result := tx.Model(&secretRow{}).Where("org_id = ? AND name = ? AND sealed = ?", secret.OrgID, secret.Name, secret.Sealed).
			UpdateColumn("sealed", sealed)
		done = result.RowsAffected > 0
		return result.Error
	})
	return done, err
}

// DeleteSecret implements marketplace.SecretStore.
func (s *Marketplace) DeleteSecret(ctx context.Context, by audit.Actor, org ids.Org, name string, now time.Time) error {
	return s.db.change(ctx, "delete secret "+name, func(tx *gorm.DB) error {
		if err := s.lockOrg(tx, org); err != nil {
			return err
		}
		var before secretRow
		err := tx.Where("org_id = ? AND name = ?", org, name).Take(&before).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return notFound("secret", name)
		}
		if err != nil {
			return err
		}
		if err := tx.Delete(&before).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, org, "secret.delete", name, secretEntry{before.Version}, nil, now)
	})
}
