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
	"agentmarket/product"
)

type orderRow struct {
	ID            string
	OrgID         string
	AgentID       string
	Agent         string
	Kind          string
	Status        string
	PriceID       string
	EntitlementID string
	AmountMicros  int64
	Currency      string
	CreatedBy     string
	CreatedAt     stamp
	RenewsAt      stamp
	CanceledAt    stamp
}

func (orderRow) TableName() string { return "orders" }

func rowFromOrder(o marketplace.Order) orderRow {
	return orderRow{
		ID: string(o.ID), OrgID: string(o.OrgID), AgentID: string(o.AgentID), Agent: o.Agent,
		Kind: string(o.Kind), Status: string(o.Status), PriceID: string(o.PriceID), EntitlementID: string(o.EntitlementID),
		AmountMicros: o.Amount.Micros, Currency: o.Amount.Currency, CreatedBy: o.CreatedBy,
		CreatedAt: at(o.CreatedAt), RenewsAt: at(o.RenewsAt), CanceledAt: at(o.CanceledAt),
	}
}

func orderFromRow(r orderRow) marketplace.Order {
	return marketplace.Order{
		ID: ids.Order(r.ID), OrgID: ids.Org(r.OrgID), AgentID: ids.Agent(r.AgentID), Agent: r.Agent,
		Kind: marketplace.OrderKind(r.Kind), Status: marketplace.OrderStatus(r.Status),
		PriceID: ids.Price(r.PriceID), EntitlementID: ids.Entitlement(r.EntitlementID),
		Amount: money.Of(r.AmountMicros, r.Currency), CreatedBy: r.CreatedBy,
		CreatedAt: r.CreatedAt.t, RenewsAt: r.RenewsAt.t, CanceledAt: r.CanceledAt.t,
	}
}

// orderEntry is an order in the audit log.
type orderEntry struct {
	AgentID       string    `json:"agent_id"`
	Kind          string    `json:"kind"`
	Status        string    `json:"status"`
	PriceID       string    `json:"price_id"`
	EntitlementID string    `json:"entitlement_id"`
	AmountMicros  int64     `json:"amount_micros"`
	Currency      string    `json:"currency"`
	RenewsAt      time.Time `json:"renews_at,omitzero"`
	// Why is the code of what ended it.
	Why string `json:"why,omitempty"`
}

func (r orderRow) entry() orderEntry {
	return orderEntry{
		AgentID: r.AgentID, Kind: r.Kind, Status: r.Status, PriceID: r.PriceID, EntitlementID: r.EntitlementID,
		AmountMicros: r.AmountMicros, Currency: r.Currency, RenewsAt: r.RenewsAt.t,
	}
}

// PlaceOrder implements marketplace.OrderStore. Orders of an organization for the
// same agent wait for each other at its installation, so that buy sees what the
// one before bought.
func (s *Marketplace) PlaceOrder(ctx context.Context, by audit.Actor, q marketplace.ClaimQuery, key *marketplace.RequestKey, version *product.Version,
	buy func(marketplace.Claim) (marketplace.Purchase, error), pay func(marketplace.Purchase) (*marketplace.Transaction, error),
) (marketplace.Order, bool, error) {
	var placed orderRow
	var first bool
	doing := fmt.Sprintf("order agent %s for organization %s", q.AgentID, q.OrgID)
	err := s.db.change(ctx, doing, func(tx *gorm.DB) error {
		org := requester(by, q.OrgID)
		before, err := takeRequestKey(tx, org, key, "", q.At)
		if err != nil {
			return err
		}
		if first = before == ""; !first {
			placed = orderRow{}
			return tx.Where("id = ?", before).Take(&placed).Error
		}
		if err := s.install(tx, by, q, version); err != nil {
			return err
		}
		claim, err := claimIn(tx, s.db.dialect, q, true)
		if err != nil {
			return err
		}
		purchase, err := buy(claim)
		if err != nil {
			return refuse(err)
		}
		if err := bindRequestKey(tx, org, key, string(purchase.Order.ID), q.At); err != nil {
			return err
		}
		placed = rowFromOrder(purchase.Order)
		return storePurchase(tx, by, q, purchase, placed, pay)
	})
	if err != nil {
		return marketplace.Order{}, false, err
	}
	return orderFromRow(placed), first, nil
}

// install locks the installation of the agent that is ordered, or makes one, and
// records the consent to a version.
func (s *Marketplace) install(tx *gorm.DB, by audit.Actor, q marketplace.ClaimQuery, version *product.Version) error {
	before, inserted, err := s.lockInstallation(tx, q.OrgID, q.AgentID, q.At)
	if foreignKeyViolated(err) {
		return notFound("agent", string(q.AgentID))
	}
	if err != nil || version == nil {
		return err
	}
	i := installationFromRow(before)
	i.Consent(*version, by.ID, q.At)
	after := rowFromInstallation(i)
	if err := tx.Select("*").Omit("org_id", "agent_id", "created_at").Updates(&after).Error; err != nil {
		return err
	}
	return writeAudit(tx, by, q.OrgID, "installation.update", string(q.AgentID), before.entryUnless(inserted), after.entry(), q.At)
}

// storePurchase stores an order with the right that it buys, and pays for it.
func storePurchase(tx *gorm.DB, by audit.Actor, q marketplace.ClaimQuery, p marketplace.Purchase, row orderRow,
	pay func(marketplace.Purchase) (*marketplace.Transaction, error),
) error {
	inserted, err := insertEntitlement(tx, p.Entitlement)
	if err != nil {
		return err
	}
	if !inserted {
		return fault.New(fault.Conflict, "order_exists", "your organization has ordered this agent already")
	}
	if err := tx.Create(&row).Error; err != nil {
		return err
	}
	if err := writeAudit(tx, by, q.OrgID, "order.place", row.ID, nil, row.entry(), q.At); err != nil {
		return err
	}
	t, err := pay(p)
	if err != nil {
		return refuse(err)
	}
	if t == nil {
		return nil
	}
	t.CreatedBy = by.ID
	return payNow(tx, q.UserID, *t)
}

// payNow pays what is not held before: it counts as spent in the month of the
// transaction.
func payNow(tx *gorm.DB, user ids.User, t marketplace.Transaction) error {
	paid := money.Of(paidBy(t), t.Lines[0].Amount.Currency)
	spending, err := takeSpend(tx, t.OrgID, user, t.Month, money.Amount{}, paid)
	if err != nil {
		return err
	}
	if err := raiseAlerts(tx, spending, t.OrgID, user, t.CreatedAt); err != nil {
		return err
	}
	_, err = postTransaction(tx, t)
	return err
}

// Order implements marketplace.OrderStore.
func (s *Marketplace) Order(ctx context.Context, org ids.Org, id ids.Order) (marketplace.Order, error) {
	var row orderRow
	if err := s.db.read.WithContext(ctx).Where("id = ? AND org_id = ?", id, org).Take(&row).Error; err != nil {
		return marketplace.Order{}, s.db.lookup(err, "order", string(id))
	}
	return orderFromRow(row), nil
}

// Orders implements marketplace.OrderStore.
func (s *Marketplace) Orders(ctx context.Context, org ids.Org, before ids.Order, limit int) ([]marketplace.Order, error) {
	query := s.db.read.WithContext(ctx).Where("org_id = ?", org)
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var rows []orderRow
	if err := query.Order("id DESC").Limit(atMost(limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list orders of organization "+string(org))
	}
	list := make([]marketplace.Order, len(rows))
	for i, row := range rows {
		list[i] = orderFromRow(row)
	}
	return list, nil
}

// CancelOrder implements marketplace.OrderStore.
func (s *Marketplace) CancelOrder(ctx context.Context, by audit.Actor, org ids.Org, id ids.Order, when time.Time) (marketplace.Order, error) {
	var order marketplace.Order
	err := s.db.change(ctx, "cancel order "+string(id), func(tx *gorm.DB) error {
		row, right, err := s.lockOrder(tx, org, id)
		if err != nil {
			return err
		}
		if row.Status == string(marketplace.OrderActive) {
			end := orderEnd{status: marketplace.OrderEnded, action: "order.cancel"}
			if row.Kind == string(marketplace.OrderSubscription) {
				end.status = marketplace.OrderCanceled
			}
			if row, err = closeOrder(tx, by, row, right, end, when); err != nil {
				return err
			}
		}
		order = orderFromRow(row)
		return nil
	})
	if err != nil {
		return marketplace.Order{}, err
	}
	return order, nil
}

// refundOrder ends an order whose month was given back, unless it is over.
func (s *Marketplace) refundOrder(tx *gorm.DB, by audit.Actor, org ids.Org, id ids.Order, when time.Time) error {
	row, right, err := s.lockOrder(tx, org, id)
	if err != nil || row.Status != string(marketplace.OrderActive) && row.Status != string(marketplace.OrderCanceled) {
		return err
	}
	_, err = closeOrder(tx, by, row, right, orderEnd{status: marketplace.OrderRefunded, action: "order.refund"}, when)
	return err
}

const selectOrder = `
SELECT id, org_id, agent_id, agent, kind, status, price_id, entitlement_id, amount_micros, currency,
    created_by, created_at, renews_at, canceled_at
FROM orders WHERE id = ? AND org_id = ?`

// lockOrder loads and locks an order, after the right that it bought: renewals
// take the locks in this order too.
func (s *Marketplace) lockOrder(tx *gorm.DB, org ids.Org, id ids.Order) (row orderRow, right entitlementRow, err error) {
	err = tx.Where("id = ? AND org_id = ?", id, org).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, right, notFound("order", string(id))
	}
	if err == nil {
		err = tx.Raw(selectEntitlement+forUpdate[s.db.dialect], row.EntitlementID, org).Take(&right).Error
	}
	if err == nil {
		row = orderRow{}
		err = tx.Raw(selectOrder+forUpdate[s.db.dialect], id, org).Take(&row).Error
	}
	return row, right, err
}

// orderEnd is how an order ends.
type orderEnd struct {
	status marketplace.OrderStatus
	action string // in the audit log
	why    string // the code of what ended it; empty: somebody did
}

// closeOrder ends an order. A canceled one leaves the right until the end of what
// is paid; every other end ends it at once, where it has not ended by itself.
func closeOrder(tx *gorm.DB, by audit.Actor, row orderRow, right entitlementRow, end orderEnd, when time.Time) (orderRow, error) {
	before := row.entry()
	row.Status, row.RenewsAt = string(end.status), stamp{}
	if row.CanceledAt.t.IsZero() && end.why == "" {
		row.CanceledAt = at(when)
	}
	right.Renews = false
	over := !right.RevokedAt.t.IsZero() || !right.ExpiresAt.t.IsZero() && !right.ExpiresAt.t.After(when)
	if end.status != marketplace.OrderCanceled && !over {
		right.RevokedAt = at(when)
	}
	if err := tx.Select("Renews", "RevokedAt").Updates(&right).Error; err != nil {
		return row, err
	}
	if err := tx.Select("Status", "RenewsAt", "CanceledAt").Updates(&row).Error; err != nil {
		return row, err
	}
	after := row.entry()
	after.Why = end.why
	return row, writeAudit(tx, by, ids.Org(row.OrgID), end.action, row.ID, before, after, when)
}
