package marketplace

import (
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

// Policy is how the marketplace is configured.
type Policy struct {
	// Currency of all prices and wallets. Default: USD.
	Currency string
	// FeeBasisPoints is the platform's share of what buyers pay, in hundredths
	// of a percent. 0: none.
	FeeBasisPoints int64
	// PriceNotice is how long before a raise of a price it must be announced.
	PriceNotice time.Duration
	// ModelBudget is held for runs of agents that ask models, beside the price, if the
	// caller names no maximum. 0: models cost nothing here.
	ModelBudget money.Amount
	// ReviewListings makes an operator approve listings that leave their
	// organization. False: publishers publish by themselves.
	ReviewListings bool
}

// DefaultPolicy is that of a platform that was not configured: 20 % for the
// platform, two weeks of notice, as the large marketplaces do, and review.
func DefaultPolicy() Policy {
	return Policy{Currency: "USD", FeeBasisPoints: 2000, PriceNotice: 14 * 24 * time.Hour, ReviewListings: true}
}

// Admit is Decide for a run, with the spend limits of the organization, and what
// is to be held for it.
func (c Claim) Admit(run product.Run, s Subject, spending Spending, policy Policy, now time.Time) (Hold, error) {
	s.MaxCost = run.Request.MaxCost
	d, _, err := c.decideWithin(s, spending, now)
	if err != nil {
		return Hold{}, err
	}
	h := Hold{
		RunID: run.ID, OrgID: c.OrgID, UserID: run.UserID, AgentID: c.AgentID, Publisher: c.Publisher,
		EntitlementID: d.Entitlement.ID, Source: d.Entitlement.Source, Used: d.Used, Included: d.Quote.Included,
		Affordable: d.Quote.Affordable, FeeBasisPoints: policy.FeeBasisPoints, Month: MonthOf(now), CreatedAt: now,
	}
	if d.Price != nil {
		h.Price = *d.Price
	}
	h.Amount = d.Quote.Maximum
	if h.Amount.Currency != "" {
		if err := spending.Allow(h.Amount, run.UserID); err != nil {
			return Hold{}, err
		}
	}
	return h, nil
}

// decideWithin is Decide with the limits for one run. What such a limit does not
// pay for is spend_limit_reached: naming a larger max_cost would not help. The
// subject comes back with the most that the run may cost.
func (c Claim) decideWithin(s Subject, spending Spending, now time.Time) (Decision, Subject, error) {
	asked := s.MaxCost
	s.MaxCost = spending.Cap(asked)
	if asked.Currency != "" && s.Models.Micros > 0 { // all of it, if need be
		s.Models.Micros = money.MaxMicros
	}
	d, err := c.Decide(s, now)
	if err != nil && s.MaxCost != asked && fault.From(err).Code == CodeBudgetTooLow {
		err = fault.Newf(fault.PaymentRequired, CodeSpendLimitReached,
			"your organization's limit of %s (%s) does not pay for the run", s.MaxCost, SpendPerRun)
	}
	return d, s, err
}

// Fits returns nil when what is held pays for what was planned. Between plan and
// hold others may have used up the right that was to pay, or moved the buyer into
// a dearer tier; a run must not go on for longer than it is paid for, nor cost
// more than was promised: fault.PaymentRequired, budget_too_low.
func (h Hold) Fits(plan product.Plan) error {
	switch {
	case h.Amount.IsZero():
		return nil
	case plan.Budget.Currency == "" || h.Amount.Micros > plan.Budget.Micros,
		h.Affordable > 0 && h.Affordable < plan.Deadlines.Run:
		return fault.New(fault.PaymentRequired, CodeBudgetTooLow,
			"the right under which the run was planned was used up meanwhile; start it again")
	}
	return nil
}

// Estimate is what a run would cost.
type Estimate struct {
	Price    *Price // nil: free for the caller
	Source   Source // the right that would pay; empty: none holds
	Included bool
	Minimum  money.Amount
	// Typical is what a run of average length costs; equal to Minimum where
	// nothing is known yet.
	Typical money.Amount
	// Maximum is what would be held.
	Maximum money.Amount
	// Denial is why a run could not start now; nil: it could.
	Denial error
}

// Estimate prices a run without admitting it. average is how long runs of the
// agent took; 0: unknown. A caller who is not entitled (yet) is told what it
// would cost him under the price in effect.
func (c Claim) Estimate(s Subject, spending Spending, average time.Duration, policy Policy, now time.Time) Estimate {
	zero := money.Of(0, policy.Currency)
	e := Estimate{Minimum: zero, Typical: zero, Maximum: zero}
	d, s, err := c.decideWithin(s, spending, now)
	if err != nil {
		e.Denial = err
		d = Decision{Price: c.Price}
		if c.Price != nil {
			d.Quote = c.Price.asked(s)
		}
	}
	e.Price, e.Source, e.Included = d.Price, d.Entitlement.Source, d.Quote.Included
	if d.Quote.Maximum.Currency == "" {
		return e
	}
	e.Minimum = money.Of(d.Quote.Minimum.Micros, d.Quote.Maximum.Currency)
	e.Typical, e.Maximum = e.Minimum, d.Quote.Maximum
	if d.Price == nil || e.Included {
		if e.Denial == nil {
			e.Denial = spending.Allow(e.Maximum, s.UserID)
		}
		return e
	}
	e.Minimum, e.Typical, e.Maximum = d.Quote.Minimum, d.Quote.Minimum, d.Quote.Maximum
	if d.Price.Model == ModelPerSecond && average > 0 {
		e.Typical = money.Min(d.Price.Of(d.Price.Unit(d.Used)).Times(wholeSeconds(average)), e.Maximum)
	}
	if e.Denial == nil {
		e.Denial = spending.Allow(e.Maximum, s.UserID)
	}
	return e
}

// asked quotes a run under a price in general: what it would cost without a
// budget where the budget does not pay for it.
func (p Price) asked(s Subject) Quote {
	q, err := p.Quote(s.Timeout, s.MaxCost, 0)
	if err != nil {
		q, _ = p.Quote(s.Timeout, money.Amount{}, 0)
	}
	return q
}

// ClaimQuery names a caller and an agent.
type ClaimQuery struct {
	OrgID   ids.Org
	UserID  ids.User // empty: a program
	AgentID ids.Agent
	// PriceID replaces the price in effect: of a run that was planned under it.
	PriceID ids.Price
	At      time.Time
}

// RequestKey names a request that must not be carried out twice, within an
// organization.
type RequestKey = product.IdempotencyKey
