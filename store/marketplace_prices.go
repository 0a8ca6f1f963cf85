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
)

var _ marketplace.PriceStore = (*Marketplace)(nil)

// priceRow is a price. It is inserted and perhaps cancelled, never updated.
type priceRow struct {
	ID            string
	AgentID       string
	Model         string
	Currency      string
	Terms         document[priceTerms]
	EffectiveFrom stamp
	CreatedBy     string
	CreatedAt     stamp
}

func (priceRow) TableName() string { return "prices" }

// priceColumns are the columns of a priceRow, for statements in SQL text.
const priceColumns = `id, agent_id, model, currency, terms, effective_from, created_by, created_at`

// priceTerms is everything that costs. Amounts are micro-units of the currency.
type priceTerms struct {
	PerRun       int64        `json:"per_run,omitempty"`
	PerSecond    int64        `json:"per_second,omitempty"`
	Events       []eventTerms `json:"events,omitempty"`
	Monthly      int64        `json:"monthly,omitempty"`
	IncludedRuns int64        `json:"included_runs,omitempty"`
	Tiers        []tierTerms  `json:"tiers,omitempty"`
	MaxPerRun    int64        `json:"max_per_run,omitempty"`
	TrialRuns    int64        `json:"trial_runs,omitempty"`
	TrialDays    int64        `json:"trial_days,omitempty"`
	FailedRuns   string       `json:"failed_runs"`
}

type eventTerms struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Micros int64  `json:"micros"`
}

type tierTerms struct {
	After  int64 `json:"after"`
	Micros int64 `json:"micros"`
}

func rowFromPrice(p marketplace.Price) priceRow {
	terms := priceTerms{
		PerRun: p.PerRun, PerSecond: p.PerSecond, Monthly: p.Monthly, IncludedRuns: p.IncludedRuns,
		MaxPerRun: p.MaxPerRun, TrialRuns: p.Trial.Runs, TrialDays: p.Trial.Days, FailedRuns: string(p.FailedRuns),
	}
	for _, e := range p.Events {
		terms.Events = append(terms.Events, eventTerms(e))
	}
	for _, t := range p.Tiers {
		terms.Tiers = append(terms.Tiers, tierTerms(t))
	}
	return priceRow{
		ID: string(p.ID), AgentID: string(p.AgentID), Model: string(p.Model), Currency: p.Currency,
		Terms: documentOf(terms), EffectiveFrom: at(p.EffectiveFrom), CreatedBy: p.CreatedBy, CreatedAt: at(p.CreatedAt),
	}
}

func priceFromRow(r priceRow) (marketplace.Price, error) {
	if r.Terms.value == nil {
		return marketplace.Price{}, fmt.Errorf("load price %s: it has no terms", r.ID)
	}
	terms := *r.Terms.value
	p := marketplace.Price{
		ID: ids.Price(r.ID), AgentID: ids.Agent(r.AgentID), Model: marketplace.Model(r.Model), Currency: r.Currency,
		PerRun: terms.PerRun, PerSecond: terms.PerSecond, Monthly: terms.Monthly, IncludedRuns: terms.IncludedRuns,
		MaxPerRun: terms.MaxPerRun, Trial: marketplace.Trial{Runs: terms.TrialRuns, Days: terms.TrialDays},
		FailedRuns:    marketplace.FailedRuns(terms.FailedRuns),
		EffectiveFrom: r.EffectiveFrom.t, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt.t,
	}
	for _, e := range terms.Events {
		p.Events = append(p.Events, marketplace.EventPrice(e))
	}
	for _, t := range terms.Tiers {
		p.Tiers = append(p.Tiers, marketplace.Tier(t))
	}
	return p, nil
}

func pricesFromRows(rows []priceRow) ([]marketplace.Price, error) {
	prices := make([]marketplace.Price, len(rows))
	for i, row := range rows {
		var err error
		if prices[i], err = priceFromRow(row); err != nil {
			return nil, err
		}
	}
	return prices, nil
}

// priceEntry is a price in the audit log.
type priceEntry struct {
	AgentID       string     `json:"agent_id"`
	Model         string     `json:"model"`
	Currency      string     `json:"currency"`
	Terms         priceTerms `json:"terms"`
	EffectiveFrom time.Time  `json:"effective_from"`
}

func (r priceRow) entry() priceEntry {
	return priceEntry{r.AgentID, r.Model, r.Currency, *r.Terms.value, r.EffectiveFrom.t}
}

// lockAgentPrices lets one price of an agent be set or cancelled at a time; the
// weaker lock does not hold up runs of the agent, which refer to its row.
var lockAgentPrices = map[dialect]string{
	postgresDialect: `SELECT org_id FROM agents WHERE id = ? FOR NO KEY UPDATE`,
	sqliteDialect:   `SELECT org_id FROM agents WHERE id = ?`,
}

func (s *Marketplace) lockPrices(tx *gorm.DB, agent ids.Agent) (publisher ids.Org, err error) {
	var org string
	err = tx.Raw(lockAgentPrices[s.db.dialect], agent).Take(&org).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		err = notFound("agent", string(agent))
	}
	return ids.Org(org), err
}

// knownPrices selects the price that is in effect and those that are announced.
const knownPrices = `
SELECT ` + priceColumns + ` FROM prices
WHERE agent_id = @agent AND effective_from >= COALESCE(
    (SELECT MAX(effective_from) FROM prices WHERE agent_id = @agent AND effective_from <= @now), @now)
ORDER BY effective_from, id`

// SetPrice implements marketplace.PriceStore. The price is announced, or in
// effect, at its CreatedAt.
func (s *Marketplace) SetPrice(ctx context.Context, by audit.Actor, p marketplace.Price, check func(known []marketplace.Price) error) error {
	row := rowFromPrice(p)
	return s.db.change(ctx, "set price "+string(p.ID), func(tx *gorm.DB) error {
		publisher, err := s.lockPrices(tx, p.AgentID)
		if err != nil {
			return err
		}
		var rows []priceRow
		values := map[string]any{"agent": p.AgentID, "now": row.CreatedAt}
		if err := tx.Raw(knownPrices, values).Find(&rows).Error; err != nil {
			return err
		}
		known, err := pricesFromRows(rows)
		if err != nil {
			return err
		}
		if err := check(known); err != nil {
			return refuse(err)
		}
		if n := len(known); n > 0 && !row.EffectiveFrom.t.After(known[n-1].EffectiveFrom) {
			return fault.Newf(fault.Conflict, "price_order", "there is a price that takes effect at %s; a new one must be later",
				known[n-1].EffectiveFrom.Format(time.RFC3339))
		}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		if err := writeAudit(tx, by, publisher, "price.set", row.ID, nil, row.entry(), p.CreatedAt); err != nil {
			return err
		}
		if row.EffectiveFrom.t.After(row.CreatedAt.t) {
			return nil
		}
		return refreshListing(tx, s.db.dialect, p.AgentID, p.CreatedAt)
	})
}

// Prices implements marketplace.PriceStore.
func (s *Marketplace) Prices(ctx context.Context, agent ids.Agent) ([]marketplace.Price, error) {
	var rows []priceRow
	err := s.db.read.WithContext(ctx).Where("agent_id = ?", agent).Order("effective_from DESC, id DESC").Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list prices of agent "+string(agent))
	}
	return pricesFromRows(rows)
}

// CancelPrice implements marketplace.PriceStore.
func (s *Marketplace) CancelPrice(ctx context.Context, by audit.Actor, agent ids.Agent, id ids.Price, now time.Time) error {
	return s.db.change(ctx, "cancel price "+string(id), func(tx *gorm.DB) error {
		publisher, err := s.lockPrices(tx, agent)
		if err != nil {
			return err
		}
		var row priceRow
		err = tx.Where("id = ? AND agent_id = ?", id, agent).Take(&row).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return notFound("price", string(id))
		}
		if err != nil {
			return err
		}
		if !row.EffectiveFrom.t.After(at(now).t) {
			return errPriceInEffect()
		}
		// An order has it where another process has a clock that is ahead.
		if err := tx.Where("id = ?", id).Delete(&priceRow{}).Error; foreignKeyViolated(err) {
			return errPriceInEffect()
		} else if err != nil {
			return err
		}
		return writeAudit(tx, by, publisher, "price.cancel", row.ID, row.entry(), nil, now)
	})
}

func errPriceInEffect() error {
	return fault.New(fault.Conflict, "price_in_effect", "the price is in effect already; set another one to change it")
}
