package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

type holdRow struct {
	RunID          string `gorm:"primaryKey"`
	OrgID          string
	UserID         string
	AgentID        string
	PublisherID    string
	EntitlementID  string
	Source         string
	PriceID        string // empty: nothing to pay
	Used           int64
	Included       bool
	AmountMicros   int64
	Currency       string
	AffordableNS   int64 `gorm:"column:affordable_ns"`
	FeeBasisPoints int64
	Month          string
	ChargedMicros  int64
	CreatedAt      stamp
	SettledAt      stamp
}

func (holdRow) TableName() string { return "holds" }

// holdColumns are the columns of a holdRow, in its order, for statements in SQL
// text.
const holdColumns = `run_id, org_id, user_id, agent_id, publisher_id, entitlement_id, source, price_id, used, included,
amount_micros, currency, affordable_ns, fee_basis_points, month, charged_micros, created_at, settled_at`

func rowFromHold(h marketplace.Hold) holdRow {
	return holdRow{
		RunID: string(h.RunID), OrgID: string(h.OrgID), UserID: string(h.UserID), AgentID: string(h.AgentID),
		PublisherID: string(h.Publisher), EntitlementID: string(h.EntitlementID), Source: string(h.Source),
		PriceID: string(h.Price.ID), Used: h.Used, Included: h.Included,
		AmountMicros: h.Amount.Micros, Currency: h.Amount.Currency, AffordableNS: int64(h.Affordable),
		FeeBasisPoints: h.FeeBasisPoints, Month: string(h.Month), ChargedMicros: h.Charged.Micros,
		CreatedAt: at(h.CreatedAt), SettledAt: at(h.SettledAt),
	}
}

// holdFromRow maps a hold with the price that its run started with.
func holdFromRow(r holdRow, price marketplace.Price) marketplace.Hold {
	h := marketplace.Hold{
		RunID: ids.Run(r.RunID), OrgID: ids.Org(r.OrgID), UserID: ids.User(r.UserID), AgentID: ids.Agent(r.AgentID),
		Publisher: ids.Org(r.PublisherID), EntitlementID: ids.Entitlement(r.EntitlementID), Source: marketplace.Source(r.Source),
		Price: price, Used: r.Used, Included: r.Included,
		Amount: money.Of(r.AmountMicros, r.Currency), Affordable: time.Duration(r.AffordableNS),
		FeeBasisPoints: r.FeeBasisPoints, Month: marketplace.Month(r.Month),
		CreatedAt: r.CreatedAt.t, SettledAt: r.SettledAt.t,
	}
	if !h.SettledAt.IsZero() {
		h.Charged = money.Of(r.ChargedMicros, r.Currency)
	}
	return h
}

const selectHold = `SELECT ` + holdColumns + ` FROM holds WHERE run_id = ?`

// HoldOf implements marketplace.Settlements.
func (s *Marketplace) HoldOf(ctx context.Context, run ids.Run) (marketplace.Hold, error) {
	h, err := holdIn(s.db.read.WithContext(ctx), selectHold, run)
	return h, s.db.interpret(err, "load hold of run "+string(run))
}

// lockHold loads a hold, for one transaction at a time.
func (s *Marketplace) lockHold(tx *gorm.DB, run ids.Run) (marketplace.Hold, error) {
	return holdIn(tx, selectHold+forUpdate[s.db.dialect], run)
}

// holdIn loads a hold; fault.NotFound, hold_not_found.
func holdIn(db *gorm.DB, statement string, run ids.Run) (marketplace.Hold, error) {
	var row holdRow
	err := db.Raw(statement, run).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return marketplace.Hold{}, errNoHold(run)
	}
	if err != nil {
		return marketplace.Hold{}, err
	}
	var price marketplace.Price
	if row.PriceID != "" {
		var p priceRow
		if err := db.Where("id = ?", row.PriceID).Take(&p).Error; err != nil {
			return marketplace.Hold{}, err
		}
		if price, err = priceFromRow(p); err != nil {
			return marketplace.Hold{}, err
		}
	}
	return holdFromRow(row, price), nil
}

func errNoHold(run ids.Run) error { return notFound("hold", string(run)) }

// isHeld reports whether something is, or was, held for a run.
func isHeld(tx *gorm.DB, run ids.Run) (bool, error) {
	var n int64
	err := tx.Model(&holdRow{}).Where("run_id = ?", run).Count(&n).Error
	return n > 0, err
}

type chargeRow struct {
	RunID        string `gorm:"primaryKey"`
	Key          string `gorm:"primaryKey"`
	Event        string
	Count        int64
	AmountMicros int64
	Currency     string
	At           stamp
}

func (chargeRow) TableName() string { return "run_charges" }

func chargeFromRow(r chargeRow) marketplace.EventCharge {
	return marketplace.EventCharge{
		Key: r.Key, Event: r.Event, Count: r.Count, Amount: money.Of(r.AmountMicros, r.Currency), At: r.At.t,
	}
}

// chargesOf loads what a run charged for, oldest first.
func chargesOf(tx *gorm.DB, run ids.Run) ([]marketplace.EventCharge, error) {
	var rows []chargeRow
	if err := tx.Where("run_id = ?", run).Order("at, key").Find(&rows).Error; err != nil {
		return nil, err
	}
	charges := make([]marketplace.EventCharge, len(rows))
	for i, row := range rows {
		charges[i] = chargeFromRow(row)
	}
	return charges, nil
}

// ChargeEvent implements marketplace.Settlements. The same key with another
// event or count is fault.Invalid, idempotency_key_reused; a run that has ended
// is fault.Conflict, run_ended; one that was never admitted fault.NotFound.
func (s *Marketplace) ChargeEvent(ctx context.Context, run ids.Run, attempt int, key, event string, count int64, when time.Time) (marketplace.EventCharge, error) {
	var charged marketplace.EventCharge
	err := s.db.change(ctx, "charge event of run "+string(run), func(tx *gorm.DB) error {
		hold, goesOn, err := s.lockSession(tx, run, attempt)
		if err != nil {
			return err
		}
		var before []chargeRow
		if err := tx.Where("run_id = ? AND key = ?", run, key).Find(&before).Error; err != nil {
			return err
		}
		if len(before) > 0 {
			charged = chargeFromRow(before[0])
			return sameCharge(charged, event, count)
		}
		if goesOn != nil {
			return goesOn
		}
		spent, err := spentBy(tx, hold)
		if err != nil {
			return err
		}
		amount, err := hold.Charge(event, count, spent)
		if err != nil {
			return err
		}
		row := chargeRow{RunID: string(run), Key: key, Event: event, Count: count,
			AmountMicros: amount.Micros, Currency: amount.Currency, At: at(when)}
		charged = chargeFromRow(row)
		return tx.Create(&row).Error
	})
	if err != nil {
		return marketplace.EventCharge{}, err
	}
	return charged, nil
}

func sameCharge(c marketplace.EventCharge, event string, count int64) error {
	if c.Event == event && c.Count == count {
		return nil
	}
	return fault.New(fault.Invalid, CodeIdempotencyKeyReused, "the key was used before for another charge").
		WithFields(fault.Field{Pointer: "/key", Message: "was used before for another charge"})
}

// lockSession locks a run and its hold, in the order of a settlement, and says whether
// the attempt may use up what is held: goesOn is why not.
func (s *Marketplace) lockSession(tx *gorm.DB, run ids.Run, attempt int) (hold marketplace.Hold, goesOn, err error) {
	var found []toldRun
	if err := tx.Raw(toldRuns[s.db.dialect], []string{string(run)}).Scan(&found).Error; err != nil {
		return marketplace.Hold{}, nil, err
	}
	if hold, err = s.lockHold(tx, run); err != nil {
		return marketplace.Hold{}, nil, err
	}
	if len(found) > 0 && found[0].Open && found[0].Number == attempt && hold.SettledAt.IsZero() {
		return hold, nil, nil
	}
	return hold, runEnded(tx, run), nil
}

// runEnded is why a run without an open attempt takes no charges: fault.Conflict, with
// the code run_ended where it has ended.
func runEnded(tx *gorm.DB, run ids.Run) error {
	var row runRow
	if err := tx.Select("status").Where("id = ?", run).Take(&row).Error; err != nil {
		return err
	}
	if product.Status(row.Status).Terminal() {
		return fault.New(fault.Conflict, "run_ended", "the run has ended and charges for nothing any more")
	}
	return product.SessionClosed()
}
