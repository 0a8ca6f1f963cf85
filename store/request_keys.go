package store

import (
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

type requestKeyRow struct {
	OrgID       string `gorm:"primaryKey"`
	Key         string `gorm:"primaryKey"`
	Fingerprint string
	ObjectID    string
	CreatedAt   stamp
}

func (requestKeyRow) TableName() string { return "request_keys" }

// insertRequestKey makes one of many equal requests the first. On PostgreSQL the
// others wait here until the first one has committed or is undone.
const insertRequestKey = `
INSERT INTO request_keys (org_id, key, fingerprint, object_id, created_at)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (org_id, key) DO NOTHING`

// takeRequestKey binds a request's key to the object that the transaction is
// about to store. It returns the identifier of the object that the same request
// stored before, or "" for the first one; the same key with another request is
// fault.Invalid, idempotency_key_reused. A nil key binds nothing.
func takeRequestKey(tx *gorm.DB, org ids.Org, key *product.IdempotencyKey, object string, now time.Time) (before string, err error) {
	if key == nil {
		return "", nil
	}
	insert := tx.Exec(insertRequestKey, org, key.Key, key.Fingerprint, object, at(now))
	if insert.Error != nil || insert.RowsAffected > 0 {
		return "", insert.Error
	}
	var used requestKeyRow
	if err := tx.Where("org_id = ? AND key = ?", org, key.Key).Take(&used).Error; err != nil {
		return "", err
	}
	if used.Fingerprint != key.Fingerprint {
		return "", errKeyReused()
	}
	return used.ObjectID, nil
}

func errKeyReused() error {
	return fault.New(fault.Invalid, CodeIdempotencyKeyReused, "the idempotency key was used before for another request").
		WithFields(fault.Field{Pointer: "Idempotency-Key", Message: "was used before for another request"})
}
