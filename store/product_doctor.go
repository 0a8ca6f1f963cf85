package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/product"
)

// doctorRow is the one report.
type doctorRow struct {
	Name        string `gorm:"primaryKey"`
	RequestedAt stamp
	RequestedBy string
	TakenAt     stamp
	LeasedUntil stamp
	FinishedAt  stamp
	Fingerprint string
	Tiers       string // JSON
}

func (doctorRow) TableName() string { return "doctor_reports" }

// theDoctor is the name of the one row.
const theDoctor = "platform"

const selectDoctor = `SELECT * FROM doctor_reports WHERE name = ?`

// DoctorReport implements product.DoctorStore.
func (s *Product) DoctorReport(ctx context.Context) (product.DoctorReport, error) {
	var row doctorRow
	err := s.db.read.WithContext(ctx).Raw(selectDoctor, theDoctor).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return product.DoctorReport{}, nil
	}
	r := product.DoctorReport{
		RequestedAt: row.RequestedAt.t, RequestedBy: row.RequestedBy, TakenAt: row.TakenAt.t,
		FinishedAt: row.FinishedAt.t, Fingerprint: row.Fingerprint,
	}
	if err == nil {
		err = json.Unmarshal([]byte(row.Tiers), &r.Tiers)
	}
	return r, s.db.interpret(err, "read the report of the doctor")
}

const requestDoctor = `
INSERT INTO doctor_reports (name, requested_at, requested_by, fingerprint, tiers) VALUES (?, ?, ?, '', '[]')
ON CONFLICT (name) DO UPDATE SET requested_at = excluded.requested_at, requested_by = excluded.requested_by`

// RequestDoctor implements product.DoctorStore.
func (s *Product) RequestDoctor(ctx context.Context, by audit.Actor, when time.Time) error {
	return s.db.change(ctx, "ask for the doctor", func(tx *gorm.DB) error {
		if err := tx.Exec(requestDoctor, theDoctor, at(when), by.ID).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, "", "doctor.request", theDoctor, nil, nil, when)
	})
}

const (
	ensureDoctor = `
INSERT INTO doctor_reports (name, requested_by, fingerprint, tiers) VALUES (?, '', '', '[]') ON CONFLICT (name) DO NOTHING`

	// takeDoctor takes what is asked for, what nobody finished, and what is of another
	// fingerprint.
	takeDoctor = `
UPDATE doctor_reports SET taken_at = @at, leased_until = @until
WHERE name = @name AND (leased_until IS NULL OR leased_until < @at)
    AND (taken_at < requested_at OR taken_at IS NULL AND requested_at IS NOT NULL
        OR taken_at IS NOT NULL AND (finished_at IS NULL OR finished_at < taken_at)
        OR @fingerprint <> '' AND fingerprint <> @fingerprint)`

	finishDoctor = `
UPDATE doctor_reports SET finished_at = @at, leased_until = NULL, fingerprint = @fingerprint, tiers = @tiers
WHERE name = @name`
)

// TakeDoctor implements product.DoctorStore.
func (s *Product) TakeDoctor(ctx context.Context, fingerprint string, when, until time.Time) (bool, error) {
	taken := false
	err := s.db.change(ctx, "take the doctor's turn", func(tx *gorm.DB) error {
		if fingerprint != "" {
			if err := tx.Exec(ensureDoctor, theDoctor).Error; err != nil {
				return err
			}
		}
		done := tx.Exec(takeDoctor, map[string]any{"name": theDoctor, "at": at(when), "until": at(until), "fingerprint": fingerprint})
		taken = done.RowsAffected > 0
		return done.Error
	})
	return taken, err
}

// FinishDoctor implements product.DoctorStore.
func (s *Product) FinishDoctor(ctx context.Context, fingerprint string, tiers []product.TierReport, when time.Time) error {
	text, err := json.Marshal(tiers)
	if err != nil {
		return fmt.Errorf("encode the report of the doctor: %w", err)
	}
	return s.db.change(ctx, "store the report of the doctor", func(tx *gorm.DB) error {
		return tx.Exec(finishDoctor, map[string]any{"name": theDoctor, "at": at(when), "fingerprint": fingerprint, "tiers": string(text)}).Error
	})
}
