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
	"agentmarket/money"
)

type topUpRow struct {
	ID           string
	OrgID        string
	AmountMicros int64
	Currency     string
	Provider     string
	Reference    string
	URL          string
	Instructions string
	Status       string
	CreatedBy    string
	CreatedAt    stamp
	ConfirmedAt  stamp
}

func (topUpRow) TableName() string { return "top_ups" }

const topUpColumns = `id, org_id, amount_micros, currency, provider, reference, url, instructions, status,
created_by, created_at, confirmed_at`

func rowFromTopUp(t marketplace.TopUp) topUpRow {
	return topUpRow{
		ID: string(t.ID), OrgID: string(t.OrgID), AmountMicros: t.Amount.Micros, Currency: t.Amount.Currency,
		Provider: t.Provider, Reference: t.Reference, URL: t.URL, Instructions: printable(t.Instructions),
		Status: string(t.Status), CreatedBy: t.CreatedBy, CreatedAt: at(t.CreatedAt), ConfirmedAt: at(t.ConfirmedAt),
	}
}

func topUpFromRow(r topUpRow) marketplace.TopUp {
	return marketplace.TopUp{
		ID: ids.TopUp(r.ID), OrgID: ids.Org(r.OrgID), Amount: money.Of(r.AmountMicros, r.Currency),
		Provider: r.Provider, Reference: r.Reference, URL: r.URL, Instructions: r.Instructions,
		Status: marketplace.TopUpStatus(r.Status), CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt.t, ConfirmedAt: r.ConfirmedAt.t,
	}
}

// topUpEntry is a payment in the audit log.
type topUpEntry struct {
	AmountMicros int64  `json:"amount_micros"`
	Currency     string `json:"currency"`
	Provider     string `json:"provider"`
	Reference    string `json:"reference"`
	Status       string `json:"status"`
}

func (r topUpRow) entry() topUpEntry {
	return topUpEntry{r.AmountMicros, r.Currency, r.Provider, r.Reference, r.Status}
}

// CreateTopUp implements marketplace.TopUpStore.
func (s *Marketplace) CreateTopUp(ctx context.Context, by audit.Actor, t marketplace.TopUp, key *marketplace.RequestKey) (marketplace.TopUp, bool, error) {
	var row topUpRow
	var first bool
	err := s.db.change(ctx, "create top-up "+string(t.ID), func(tx *gorm.DB) error {
		before, err := takeRequestKey(tx, requester(by, t.OrgID), key, string(t.ID), t.CreatedAt)
		if err != nil {
			return err
		}
		if first = before == ""; !first {
			row = topUpRow{}
			return tx.Where("id = ?", before).Take(&row).Error
		}
		row = rowFromTopUp(t)
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, t.OrgID, "top_up.create", row.ID, nil, row.entry(), t.CreatedAt)
	})
	if err != nil {
		return marketplace.TopUp{}, false, err
	}
	return topUpFromRow(row), first, nil
}

// TopUp implements marketplace.TopUpStore.
func (s *Marketplace) TopUp(ctx context.Context, id ids.TopUp) (marketplace.TopUp, error) {
	var row topUpRow
	if err := s.db.read.WithContext(ctx).Where("id = ?", id).Take(&row).Error; err != nil {
		return marketplace.TopUp{}, s.db.lookup(err, "top_up", string(id))
	}
	return topUpFromRow(row), nil
}

// TopUps implements marketplace.TopUpStore.
func (s *Marketplace) TopUps(ctx context.Context, org ids.Org, before ids.TopUp, limit int) ([]marketplace.TopUp, error) {
	query := s.db.read.WithContext(ctx).Where("id < ?", lastOf(before))
	if org != "" {
		query = query.Where("org_id = ?", org)
	}
	var rows []topUpRow
	if err := query.Order("id DESC").Limit(atMost(limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list top-ups of organization "+string(org))
	}
	list := make([]marketplace.TopUp, len(rows))
	for i, row := range rows {
		list[i] = topUpFromRow(row)
	}
	return list, nil
}

const selectTopUp = `SELECT ` + topUpColumns + ` FROM top_ups WHERE id = ?`

// ConfirmTopUp implements marketplace.TopUpStore. A payment that was canceled is
// fault.Conflict, top_up_state.
func (s *Marketplace) ConfirmTopUp(ctx context.Context, by audit.Actor, id ids.TopUp, when time.Time) (marketplace.TopUp, error) {
	var row topUpRow
	err := s.db.change(ctx, "confirm top-up "+string(id), func(tx *gorm.DB) error {
		row = topUpRow{}
		err := tx.Raw(selectTopUp+forUpdate[s.db.dialect], id).Take(&row).Error
		switch {
		case errors.Is(err, gorm.ErrRecordNotFound):
			return notFound("top_up", string(id))
		case err != nil:
			return err
		}
		switch marketplace.TopUpStatus(row.Status) {
		case marketplace.TopUpConfirmed:
			return nil
		case marketplace.TopUpCanceled:
			return fault.New(fault.Conflict, "top_up_state", "the payment was canceled")
		case marketplace.TopUpPending:
		}
		before := row.entry()
		row.Status, row.ConfirmedAt = string(marketplace.TopUpConfirmed), at(when)
		if err := tx.Select("Status", "ConfirmedAt").Updates(&row).Error; err != nil {
			return err
		}
		if err := writeAudit(tx, by, ids.Org(row.OrgID), "top_up.confirm", row.ID, before, row.entry(), when); err != nil {
			return err
		}
		t, err := marketplace.CreditMoney(ids.Org(row.OrgID), money.Of(row.AmountMicros, row.Currency),
			"payment "+row.Reference, when)
		if err != nil {
			return err
		}
		_, err = postFor(tx, by, t)
		return err
	})
	if err != nil {
		return marketplace.TopUp{}, err
	}
	return topUpFromRow(row), nil
}
