package store

import (
	"errors"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// What counts against spend limits: one row for an organization and month, and
// one for each person who spends in it. A run counts as held in the month that it
// is admitted in, and as spent in the same month when it is settled.

type spendingRow struct {
	OrgID       string
	Month       string
	UserID      string // empty: the whole organization
	SpentMicros int64
	HeldMicros  int64
	Currency    string
}

func (spendingRow) TableName() string { return "spending" }

func (r spendingRow) spend(month marketplace.Month) marketplace.Spend {
	return marketplace.Spend{Month: month, Spent: money.Of(r.SpentMicros, r.Currency), Held: money.Of(r.HeldMicros, r.Currency)}
}

// spendingIn reads what limits an organization has and what counts against them.
// It locks nothing: whoever adds to it asks again, see takeSpend.
func spendingIn(db *gorm.DB, org ids.Org, user ids.User, month marketplace.Month) (marketplace.Spending, error) {
	spending := marketplace.Spending{Org: marketplace.Spend{Month: month}}
	if user != "" {
		spending.User.Month = month
	}
	var rows []spendingRow
	err := db.Where("org_id = ? AND month = ? AND user_id IN ?", org, month, whose(user)).Find(&rows).Error
	if err != nil {
		return marketplace.Spending{}, err
	}
	for _, row := range rows {
		spending = withSpend(spending, ids.User(row.UserID), row.spend(month))
	}
	spending.Limits, err = spendLimitsIn(db, org)
	return spending, err
}

func spendLimitsIn(db *gorm.DB, org ids.Org) (limits []marketplace.SpendLimit, err error) {
	var rows []spendLimitRow
	err = db.Where("org_id = ?", org).Order("scope, user_id").Find(&rows).Error
	for _, row := range rows {
		limits = append(limits, spendLimitFromRow(row))
	}
	return limits, err
}

// whose are the rows that spending of a person counts in, in the order in which
// they are locked.
func whose(user ids.User) []ids.User {
	if user == "" {
		return []ids.User{""}
	}
	return []ids.User{"", user}
}

// addSpend makes or changes a row, and locks it until the end of the transaction.
const addSpend = `
INSERT INTO spending (org_id, month, user_id, spent_micros, held_micros, currency)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (org_id, month, user_id) DO UPDATE SET spent_micros = spending.spent_micros + excluded.spent_micros,
    held_micros = spending.held_micros + excluded.held_micros, currency = excluded.currency
WHERE spending.currency IN ('', excluded.currency)
RETURNING org_id, month, user_id, spent_micros, held_micros, currency`

// takeSpend counts an amount as held or as spent in a month, and returns the
// spending with it. The limits are asked with the rows of the month locked, so
// that of many at once none gets past them: fault.PaymentRequired,
// spend_limit_reached. Nothing is not counted.
func takeSpend(tx *gorm.DB, org ids.Org, user ids.User, month marketplace.Month, held, spent money.Amount) (marketplace.Spending, error) {
	limits, err := spendLimitsIn(tx, org)
	if err != nil {
		return marketplace.Spending{}, err
	}
	amount, err := money.Add(held, spent)
	if err != nil {
		return marketplace.Spending{}, err
	}
	before := marketplace.Spending{Limits: limits}
	after := marketplace.Spending{Limits: limits}
	for _, u := range whose(user) {
		var row spendingRow
		insert := tx.Raw(addSpend, org, month, u, spent.Micros, held.Micros, amount.Currency).Scan(&row)
		if insert.Error != nil {
			return marketplace.Spending{}, insert.Error
		}
		if insert.RowsAffected == 0 {
			return marketplace.Spending{}, errCurrency("another currency", amount.Currency)
		}
		after = withSpend(after, u, row.spend(month))
		row.HeldMicros -= held.Micros
		row.SpentMicros -= spent.Micros
		before = withSpend(before, u, row.spend(month))
	}
	return after, before.Allow(amount, user)
}

func withSpend(s marketplace.Spending, user ids.User, spend marketplace.Spend) marketplace.Spending {
	if user == "" {
		s.Org = spend
	} else {
		s.User = spend
	}
	return s
}

// settleSpend makes what was held for a run spent, or gives it back.
const settleSpend = `
UPDATE spending SET held_micros = held_micros - ?, spent_micros = spent_micros + ?
WHERE org_id = ? AND month = ? AND user_id = ?
RETURNING org_id, month, user_id, spent_micros, held_micros, currency`

// spendHeld settles what counts for a hold, and returns the spending with it.
func spendHeld(tx *gorm.DB, h marketplace.Hold, total money.Amount) (marketplace.Spending, error) {
	limits, err := spendLimitsIn(tx, h.OrgID)
	if err != nil {
		return marketplace.Spending{}, err
	}
	after := marketplace.Spending{Limits: limits}
	for _, u := range whose(h.UserID) {
		var row spendingRow
		update := tx.Raw(settleSpend, h.Amount.Micros, total.Micros, h.OrgID, h.Month, u).Scan(&row)
		if update.Error != nil {
			return marketplace.Spending{}, update.Error
		}
		if update.RowsAffected == 0 {
			return marketplace.Spending{}, errors.New("settle spending of run " + string(h.RunID) + ": it was never counted")
		}
		after = withSpend(after, u, row.spend(h.Month))
	}
	return after, nil
}

// insertAlert keeps the first alert of a limit, a month and a threshold.
const insertAlert = `
INSERT INTO spend_alerts (id, org_id, scope, user_id, month, percent, limit_micros, spent_micros, currency, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (org_id, scope, user_id, month, percent) DO NOTHING`

// raiseAlerts stores the alerts that follow from spending having grown.
func raiseAlerts(tx *gorm.DB, spending marketplace.Spending, org ids.Org, user ids.User, now time.Time) error {
	for _, a := range spending.Crossed(org, user, now) {
		err := tx.Exec(insertAlert, a.ID, a.OrgID, a.Scope, a.UserID, a.Month, a.Percent,
			a.Limit.Micros, a.Spent.Micros, a.Limit.Currency, at(a.At)).Error
		if err != nil {
			return err
		}
	}
	return nil
}
