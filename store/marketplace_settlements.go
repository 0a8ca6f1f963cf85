package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

var _ marketplace.Settlements = (*Marketplace)(nil)

// settledBy is who makes the transactions of runs that end.
const settledBy = "settlement"

// nothing is what is left to do after a change that money has no part in.
func nothing() error { return nil }

// admissions bounds how often AdmitRun asks for a slot: a run that must wait may be
// handed one in that moment.
const admissions = 3

// AdmitRun implements marketplace.Settlements. The locks are taken in the order
// run, limits, queue, entitlements, spending, tree, accounts. Where the run stands in
// the queue is found out without them.
func (s *Marketplace) AdmitRun(ctx context.Context, id ids.Run, now time.Time, change func(*product.Run) ([]*product.Event, error),
	decide func(product.Run, marketplace.Claim, marketplace.Spending) (marketplace.Hold, error),
) (product.Run, *product.Wait, error) {
	for try := 1; ; try++ {
		run, stands, err := s.admit(ctx, id, now, change, decide)
		if err != nil || stands == nil {
			return run, nil, err
		}
		if stands.overtakes {
			// Who enters the queue of a limit that has room sees to it that it is
			// handed over. The relay tells who got it.
			s.db.handOverAfter(ctx, []product.Scope{stands.wait.Scope}, now, 0)
		}
		wait, err := s.db.Product().Waiting(ctx, id)
		if err != nil || wait != nil {
			return run, wait, err
		}
		if try == admissions {
			stands.wait.Position = 1
			return run, &stands.wait, nil
		}
	}
}

// admit is one try of AdmitRun. It returns where a run stands that got no slot.
func (s *Marketplace) admit(ctx context.Context, id ids.Run, now time.Time, change func(*product.Run) ([]*product.Event, error),
	decide func(product.Run, marketplace.Claim, marketplace.Spending) (marketplace.Hold, error),
) (product.Run, *standing, error) {
	var stands *standing
	run, err := s.db.updateRun(ctx, "admit run "+string(id), id, change, func(tx *gorm.DB, c *runChange) (func() error, error) {
		stands = nil
		if len(c.run.Attempts) == 0 || c.run.Status.Terminal() {
			return nothing, nil
		}
		if held, err := isHeld(tx, id); err != nil || held {
			return nothing, err
		}
		var err error
		if stands, err = s.db.slotFor(tx, c.run, now); err != nil {
			return nil, err
		}
		if stands != nil {
			return nothing, c.discard(stands.event(now))
		}
		// It has waited for the locks of its limits: what began, begins now.
		if err := c.apply(); err != nil {
			return nil, err
		}
		return s.hold(tx, c.run, now, decide)
	})
	if err != nil {
		return product.Run{}, nil, err
	}
	return run, stands, nil
}

// hold decides for good about a run that has its slot, and holds what it may cost.
func (s *Marketplace) hold(tx *gorm.DB, run product.Run, now time.Time,
	decide func(product.Run, marketplace.Claim, marketplace.Spending) (marketplace.Hold, error),
) (func() error, error) {
	q := marketplace.ClaimQuery{OrgID: run.OrgID, UserID: run.UserID, AgentID: run.AgentID, At: now}
	if run.Plan != nil {
		q.PriceID = run.Plan.PriceID
	}
	claim, err := claimIn(tx, s.db.dialect, q, true)
	if err != nil {
		return nil, err
	}
	spending, err := spendingIn(tx, run.OrgID, run.UserID, marketplace.MonthOf(now))
	if err != nil {
		return nil, err
	}
	hold, err := decide(run, claim, spending)
	if err != nil {
		return nil, refuse(err)
	}
	post, err := storeHold(tx, run, hold, now)
	if err != nil || hold.Amount.IsZero() {
		return post, err
	}
	return post, refuse(s.db.holdsBudget(tx, run))
}

// storeHold counts a run that is admitted, and returns what moves the money.
func storeHold(tx *gorm.DB, run product.Run, h marketplace.Hold, now time.Time) (func() error, error) {
	h.RunID = run.ID
	if h.EntitlementID == "" {
		var err error
		if h.EntitlementID, err = firstRight(tx, h, now); err != nil {
			return nil, err
		}
	}
	if err := beginUse(tx, h); err != nil {
		return nil, err
	}
	row := rowFromHold(h)
	if err := tx.Create(&row).Error; err != nil {
		return nil, err
	}
	if h.Amount.IsZero() {
		return nothing, nil
	}
	if _, err := takeSpend(tx, h.OrgID, h.UserID, h.Month, h.Amount, money.Amount{}); err != nil {
		return nil, err
	}
	if err := holdInTree(tx, run, h.Amount); err != nil {
		return nil, err
	}
	t, err := h.HoldMoney(now)
	if err != nil {
		return nil, err
	}
	t.Agent, t.CreatedBy = run.Agent, string(run.KeyID)
	return func() error {
		_, err := postTransaction(tx, t)
		return err
	}, nil
}

// SettleRun implements marketplace.Settlements. The locks are taken in the order
// run, limits, queue, hold, entitlement, spending, tree, use of the agent, accounts.
func (s *Marketplace) SettleRun(ctx context.Context, id ids.Run, now time.Time, change func(*product.Run) ([]*product.Event, error),
	settle func(product.Run, marketplace.Hold, marketplace.Used) marketplace.Settlement,
) (product.Run, []ids.Run, error) {
	var free []product.Scope
	settleHeld := func(tx *gorm.DB, c *runChange) (func() error, error) {
		free = nil
		run := &c.run
		if !run.Status.Terminal() {
			return nothing, nil
		}
		var err error
		if free, err = s.freed(tx, c, now); err != nil {
			return nil, err
		}
		if held, err := isHeld(tx, id); err != nil || !held {
			return nothing, err
		}
		hold, err := s.lockHold(tx, id)
		if err != nil || !hold.SettledAt.IsZero() {
			return nothing, err
		}
		used, err := usedBy(tx, hold)
		if err != nil {
			return nil, err
		}
		settlement := settle(*run, hold, used)
		if settlement.Total.Micros < 0 || settlement.Total.Micros > hold.Amount.Micros {
			return nil, fmt.Errorf("settle run %s: it cost %s, and %s are held", id, settlement.Total, hold.Amount)
		}
		run.Cost = settlement.Total
		return storeSettlement(tx, *run, hold, settlement, now)
	}
	run, err := s.db.updateRun(ctx, "settle run "+string(id), id, change, settleHeld)
	if err != nil {
		return product.Run{}, nil, err
	}
	return run, s.db.handOverAfter(ctx, free, now, dispatchGrace), nil
}

// freed ends the slot of a run, and returns the scopes whose slots are to be handed
// over. Whoever settled the run before may not have come to that.
func (s *Marketplace) freed(tx *gorm.DB, c *runChange, now time.Time) ([]product.Scope, error) {
	scopes, err := s.db.leaveSlot(tx, c.run.ID, c.run.StartedAt.IsZero())
	if err != nil || scopes != nil || c.run.Plan == nil || !product.Status(c.row.Status).Terminal() {
		return scopes, err
	}
	slot, err := slotOf(tx, c.run, now)
	return slot.scopes(), err
}

// storeSettlement ends a hold, and returns what moves the money.
func storeSettlement(tx *gorm.DB, run product.Run, h marketplace.Hold, s marketplace.Settlement, now time.Time) (func() error, error) {
	err := tx.Model(&holdRow{}).Where("run_id = ?", h.RunID).
		Updates(map[string]any{"settled_at": at(now), "charged_micros": s.Total.Micros}).Error
	if err != nil {
		return nil, err
	}
	if err := endUse(tx, h, s); err != nil {
		return nil, err
	}
	if !h.Amount.IsZero() {
		spending, err := spendHeld(tx, h, s.Total)
		if err != nil {
			return nil, err
		}
		if err := settleInTree(tx, run, h.Amount, s.Total); err != nil {
			return nil, err
		}
		if !s.Total.IsZero() {
			if err := raiseAlerts(tx, spending, h.OrgID, h.UserID, now); err != nil {
				return nil, err
			}
		}
	}
	if s.Counted && h.OrgID != h.Publisher { // publishers do not make their agents popular
		if err := recordUsage(tx, h.AgentID, 1, s.Seconds); err != nil {
			return nil, err
		}
	}
	if h.Amount.IsZero() {
		return nothing, nil
	}
	t, err := h.SettleMoney(s, now)
	if err != nil {
		return nil, err
	}
	t.Agent, t.CreatedBy = run.Agent, settledBy
	return func() error {
		_, err := postTransaction(tx, t)
		return err
	}, nil
}

// selectOnce finds a right that is had once.
const selectOnce = `
SELECT id FROM entitlements
WHERE org_id = ? AND agent_id = ? AND source = ? AND source IN ('ownership', 'free', 'trial')`

// firstRight stores the right to an own agent, or to one that is free for
// everybody, with the first run under it.
func firstRight(tx *gorm.DB, h marketplace.Hold, now time.Time) (ids.Entitlement, error) {
	e := marketplace.NewEntitlement(h.OrgID, h.AgentID, h.Source, now)
	if inserted, err := insertEntitlement(tx, e); err != nil || inserted {
		return e.ID, err
	}
	var id string
	err := tx.Raw(selectOnce, h.OrgID, h.AgentID, h.Source).Take(&id).Error
	return ids.Entitlement(id), err
}

// countRun counts a run against an entitlement. Counters of a month that is over
// begin anew; a caller whose clock is behind begins none.
const countRun = `
UPDATE entitlements SET
    used_runs = CASE WHEN used_month < @month THEN 0 ELSE used_runs END + 1,
    used_seconds = CASE WHEN used_month < @month THEN 0 ELSE used_seconds END,
    used_month = CASE WHEN used_month < @month THEN @month ELSE used_month END,
    used_total = used_total + 1, used_active = used_active + 1
WHERE id = @id`

// uncountRun ends the use of an entitlement by a run. A run that does not count
// is given back: in all, and in its month while that goes on.
const uncountRun = `
UPDATE entitlements SET
    used_active = CASE WHEN used_active > 0 THEN used_active - 1 ELSE 0 END,
    used_total = CASE WHEN used_total > @back THEN used_total - @back ELSE 0 END,
    used_runs = CASE WHEN used_month <> @month THEN used_runs WHEN used_runs > @back THEN used_runs - @back ELSE 0 END,
    used_seconds = CASE WHEN used_month = @month THEN used_seconds + @seconds ELSE used_seconds END
WHERE id = @id`

func beginUse(tx *gorm.DB, h marketplace.Hold) error {
	return useOnce(tx, countRun, h, map[string]any{"id": h.EntitlementID, "month": h.Month})
}

func endUse(tx *gorm.DB, h marketplace.Hold, s marketplace.Settlement) error {
	back := 1
	if s.Counted {
		back = 0
	}
	return useOnce(tx, uncountRun, h, map[string]any{
		"id": h.EntitlementID, "month": h.Month, "back": back, "seconds": s.Seconds,
	})
}

func useOnce(tx *gorm.DB, statement string, h marketplace.Hold, values map[string]any) error {
	update := tx.Exec(statement, values)
	if update.Error == nil && update.RowsAffected != 1 {
		return fmt.Errorf("count run %s: entitlement %s is not there", h.RunID, h.EntitlementID)
	}
	return update.Error
}
