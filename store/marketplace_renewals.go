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
	"agentmarket/money"
)

// renewals is who renews.
var renewals = audit.System("renewals")

// dueRenewal finds the next subscription whose month is over, after a cursor. On
// PostgreSQL rivals skip what one of them works on.
var dueRenewal = map[dialect]string{
	postgresDialect: nextRenewal + ` FOR UPDATE SKIP LOCKED`,
	sqliteDialect:   nextRenewal,
}

const nextRenewal = `
SELECT ` + entitlementColumns + ` FROM entitlements
WHERE renews AND expires_at >= @from AND expires_at <= @now AND (expires_at > @from OR id > @after)
ORDER BY expires_at, id LIMIT 1`

// RenewDue implements marketplace.OrderStore. A month is never paid for the time
// in which the right did not hold: where a renewal comes too late, the month
// begins with it, see marketplace.Entitlement.Renewed. A subscription ends that cannot be
// renewed: the wallet or a limit does not allow it, the agent is suspended, or it
// is not sold by subscription any more. One that fails for another reason does
// not keep the others from being renewed; the next call tries it again.
func (s *Marketplace) RenewDue(ctx context.Context, now time.Time, limit int, feeBasisPoints int64) (int, error) {
	var failed []error
	cursor := entitlementRow{ExpiresAt: at(time.Unix(0, 0))}
	for n := range limit {
		var due entitlementRow
		err := s.db.change(ctx, "renew subscription", func(tx *gorm.DB) error {
			due = entitlementRow{}
			values := map[string]any{"from": cursor.ExpiresAt, "after": cursor.ID, "now": at(now)}
			query := tx.Raw(dueRenewal[s.db.dialect], values).Scan(&due)
			if query.Error != nil || query.RowsAffected == 0 {
				return query.Error
			}
			return s.renew(tx, due, now, feeBasisPoints)
		})
		switch {
		case err != nil && (due.ID == "" || fault.Is(err, fault.Unavailable)):
			return n, errors.Join(append(failed, err)...)
		case err != nil:
			failed = append(failed, fmt.Errorf("renew entitlement %s: %w", due.ID, err))
		case due.ID == "":
			return n, errors.Join(failed...)
		}
		cursor = due
	}
	return max(limit, 0), errors.Join(failed...)
}

// renew pays the next month of a subscription, or ends it.
func (s *Marketplace) renew(tx *gorm.DB, right entitlementRow, now time.Time, feeBasisPoints int64) error {
	var order orderRow
	if err := tx.Raw(selectOrder+forUpdate[s.db.dialect], right.OrderID, right.OrgID).Take(&order).Error; err != nil {
		return err
	}
	claim, err := claimIn(tx, s.db.dialect, marketplace.ClaimQuery{
		OrgID: ids.Org(right.OrgID), AgentID: ids.Agent(right.AgentID), At: now,
	}, false)
	if err != nil {
		return err
	}
	end := orderEnd{status: marketplace.OrderEnded, action: "order.end", why: codeNotRenewable}
	renewed, amount, ok := entitlementFromRow(right).Renewed(claim.Price, claim.Status, now)
	if ok {
		month := renewal{order: order, right: rowFromEntitlement(renewed), publisher: claim.Publisher, amount: amount, fee: feeBasisPoints}
		// In a transaction of its own: what a refusal leaves behind is undone.
		err := tx.Transaction(func(tx *gorm.DB) error { return month.pay(tx, now) })
		if !fault.Is(err, fault.PaymentRequired) && !fault.Is(err, fault.Invalid) {
			return err
		}
		end.why = fault.From(err).Code
	}
	_, err = closeOrder(tx, renewals, order, right, end, now)
	return err
}

// codeNotRenewable is why a subscription ends whose agent is not offered by
// subscription any more.
const codeNotRenewable = "not_renewable"

// renewal is the next month of a subscription.
type renewal struct {
	order     orderRow
	right     entitlementRow // as it is in that month
	publisher ids.Org
	amount    money.Amount
	fee       int64 // the platform's share in basis points
}

// pay stores the month, and pays for it.
func (m renewal) pay(tx *gorm.DB, now time.Time) error {
	if err := tx.Select("ExpiresAt", "PriceID", "LimitIncluded", "LimitTotal").Updates(&m.right).Error; err != nil {
		return err
	}
	before := m.order.entry()
	m.order.RenewsAt = m.right.ExpiresAt
	if err := tx.Select("RenewsAt").Updates(&m.order).Error; err != nil {
		return err
	}
	after := m.order.entry()
	after.PriceID, after.AmountMicros = m.right.PriceID, m.amount.Micros
	if err := writeAudit(tx, renewals, ids.Org(m.order.OrgID), "order.renew", m.order.ID, before, after, now); err != nil {
		return err
	}
	t, err := marketplace.SubscriptionMoney(orderFromRow(m.order), m.publisher, m.amount, m.fee, now)
	if err != nil {
		return err
	}
	t.CreatedBy = renewals.ID
	return payNow(tx, "", t)
}
