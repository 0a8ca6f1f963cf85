package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

type spendLimitRow struct {
	OrgID        string `gorm:"primaryKey"`
	Scope        string `gorm:"primaryKey"`
	UserID       string `gorm:"primaryKey"`
	AmountMicros int64
	Currency     string
	AlertAt      document[[]int]
	UpdatedBy    string
	UpdatedAt    stamp
}

func (spendLimitRow) TableName() string { return "spend_limits" }

func rowFromSpendLimit(l marketplace.SpendLimit) spendLimitRow {
	return spendLimitRow{
		OrgID: string(l.OrgID), Scope: string(l.Scope), UserID: string(l.UserID),
		AmountMicros: l.Amount.Micros, Currency: l.Amount.Currency, AlertAt: documentOf(append([]int{}, l.AlertAt...)),
		UpdatedBy: l.UpdatedBy, UpdatedAt: at(l.UpdatedAt),
	}
}

func spendLimitFromRow(r spendLimitRow) marketplace.SpendLimit {
	l := marketplace.SpendLimit{
		OrgID: ids.Org(r.OrgID), Scope: marketplace.SpendScope(r.Scope), UserID: ids.User(r.UserID),
		Amount: money.Of(r.AmountMicros, r.Currency), UpdatedBy: r.UpdatedBy, UpdatedAt: r.UpdatedAt.t,
	}
	if r.AlertAt.value != nil && len(*r.AlertAt.value) > 0 {
		l.AlertAt = *r.AlertAt.value
	}
	return l
}

// spendLimitEntry is a limit in the audit log.
type spendLimitEntry struct {
	Scope        string `json:"scope"`
	UserID       string `json:"user_id,omitempty"`
	AmountMicros int64  `json:"amount_micros"`
	Currency     string `json:"currency"`
	AlertAt      []int  `json:"alert_at,omitempty"`
}

func (r spendLimitRow) entry() spendLimitEntry {
	return spendLimitEntry{r.Scope, r.UserID, r.AmountMicros, r.Currency, *r.AlertAt.value}
}

// subject names a limit in the audit log.
func (r spendLimitRow) subject() string {
	if r.UserID == "" {
		return "spend_limit:" + r.Scope
	}
	return "spend_limit:" + r.Scope + ":" + r.UserID
}

// upsertSpendLimit is safe against a rival that stores the same limit first.
const upsertSpendLimit = `
INSERT INTO spend_limits (org_id, scope, user_id, amount_micros, currency, alert_at, updated_by, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (org_id, scope, user_id) DO UPDATE SET amount_micros = excluded.amount_micros, currency = excluded.currency,
    alert_at = excluded.alert_at, updated_by = excluded.updated_by, updated_at = excluded.updated_at`

const selectSpendLimit = `
SELECT org_id, scope, user_id, amount_micros, currency, alert_at, updated_by, updated_at
FROM spend_limits WHERE org_id = ? AND scope = ? AND user_id = ?`

// SetSpendLimit implements marketplace.SpendStore.
func (s *Marketplace) SetSpendLimit(ctx context.Context, by audit.Actor, l marketplace.SpendLimit) error {
	row := rowFromSpendLimit(l)
	return s.db.change(ctx, "set spend limit of organization "+row.OrgID, func(tx *gorm.DB) error {
		before, err := s.lockSpendLimit(tx, l.OrgID, l.Scope, l.UserID)
		if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
			return err
		}
		var was any
		if err == nil {
			was = before.entry()
		}
		err = tx.Exec(upsertSpendLimit, row.OrgID, row.Scope, row.UserID, row.AmountMicros, row.Currency,
			row.AlertAt, row.UpdatedBy, row.UpdatedAt).Error
		if err != nil {
			return err
		}
		return writeAudit(tx, by, l.OrgID, "spend_limit.set", row.subject(), was, row.entry(), l.UpdatedAt)
	})
}

func (s *Marketplace) lockSpendLimit(tx *gorm.DB, org ids.Org, scope marketplace.SpendScope, user ids.User) (row spendLimitRow, err error) {
	err = tx.Raw(selectSpendLimit+forUpdate[s.db.dialect], org, scope, user).Take(&row).Error
	return row, err
}

// DeleteSpendLimit implements marketplace.SpendStore.
func (s *Marketplace) DeleteSpendLimit(ctx context.Context, by audit.Actor, org ids.Org, scope marketplace.SpendScope, user ids.User, when time.Time) error {
	return s.db.change(ctx, "delete spend limit of organization "+string(org), func(tx *gorm.DB) error {
		row, err := s.lockSpendLimit(tx, org, scope, user)
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return notFound("spend_limit", string(scope))
		}
		if err != nil {
			return err
		}
		if err := tx.Delete(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, org, "spend_limit.delete", row.subject(), row.entry(), nil, when)
	})
}

// Spending implements marketplace.SpendStore.
func (s *Marketplace) Spending(ctx context.Context, org ids.Org, user ids.User, month marketplace.Month) (marketplace.Spending, error) {
	spending, err := spendingIn(s.db.read.WithContext(ctx), org, user, month)
	return spending, s.db.interpret(err, "load spending of organization "+string(org))
}

type alertRow struct {
	ID          string
	OrgID       string
	Scope       string
	UserID      string
	Month       string
	Percent     int64
	LimitMicros int64
	SpentMicros int64
	Currency    string
	At          stamp
}

func (alertRow) TableName() string { return "spend_alerts" }

// Alerts implements marketplace.SpendStore.
func (s *Marketplace) Alerts(ctx context.Context, org ids.Org, before ids.Alert, limit int) ([]marketplace.Alert, error) {
	query := s.db.read.WithContext(ctx).Where("org_id = ?", org)
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var rows []alertRow
	if err := query.Order("id DESC").Limit(atMost(limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list alerts of organization "+string(org))
	}
	alerts := make([]marketplace.Alert, len(rows))
	for i, r := range rows {
		alerts[i] = marketplace.Alert{
			ID: ids.Alert(r.ID), OrgID: ids.Org(r.OrgID), Scope: marketplace.SpendScope(r.Scope), UserID: ids.User(r.UserID),
			Month: marketplace.Month(r.Month), Percent: int(r.Percent), Limit: money.Of(r.LimitMicros, r.Currency),
			Spent: money.Of(r.SpentMicros, r.Currency), At: r.At.t,
		}
	}
	return alerts, nil
}
