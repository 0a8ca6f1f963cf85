package marketplace

import (
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

// The denial codes: stable texts of a start that is not allowed. Those in the
// first group are fault.PaymentRequired, those in the second fault.Forbidden.
const (
	CodePaymentRequired    = "payment_required"        // order it
	CodeTrialExhausted     = "trial_exhausted"         // order it
	CodeSubscriptionEnded  = "subscription_ended"      // order it
	CodeIncludedExhausted  = "included_runs_exhausted" // wait for the next month, or order by use
	CodeInsufficientFunds  = "insufficient_funds"      // top up
	CodeBudgetTooLow       = "budget_too_low"          // raise max_cost
	CodeBudgetExhausted    = "budget_exhausted"        // of a run that charges events
	CodeSpendLimitReached  = "spend_limit_reached"     // an admin raises the limit
	CodeNotEntitled        = "not_entitled"
	CodeEntitlementExpired = "entitlement_expired"
	CodeEntitlementRevoked = "entitlement_revoked"
	CodeVersionNotCovered  = "version_not_covered"
	CodeConsentRequired    = "consent_required" // an admin consents
	CodeRunLimitReached    = "run_limit_reached"
	CodeConcurrencyReached = "concurrent_limit_reached"
	CodeListingSuspended   = "listing_suspended"
)

// Claim is everything that decides about a start, as one query reads it.
type Claim struct {
	OrgID     ids.Org // the buyer
	AgentID   ids.Agent
	Publisher ids.Org
	// Status and Visibility of the listing; empty: the agent is not listed.
	Status     ListingStatus
	Visibility Visibility
	// Granted says that the caller was granted to see the agent.
	Granted bool
	// Price is the one in effect; nil: none was set, which is free.
	Price *Price
	// Entitlements are the rights that cover the caller, ended ones too, each
	// with the price that it fixes.
	Entitlements []Right
	Installation *Installation // nil: none
	// Wallet is what the buyer has, credit included.
	Wallet money.Amount
}

// Right is an entitlement with the price that it fixes.
type Right struct {
	Entitlement
	Price *Price // nil: the price in effect
}

// Subject is what is asked of a claim.
type Subject struct {
	UserID      ids.User // who asks, for an estimate; empty: a program
	Version     string   // number; empty: no version yet
	Permissions product.Permissions
	Timeout     time.Duration // of the agent's process
	MaxCost     money.Amount  // zero currency: as much as it takes
	// Models is what is held for models beside the price, where no maximum is named:
	// zero for versions that ask none.
	Models money.Amount
}

// Decision is a start that is allowed: under which right, and for how much.
type Decision struct {
	// Entitlement is the right. Its ID is empty where the agent is free for
	// everybody and nobody has run it under this organization yet.
	Entitlement Entitlement
	Price       *Price // nil: nothing to pay
	Used        int64
	Quote       Quote
}

// Visible reports whether the agent exists for the caller now: it is his own, it
// is offered to him, he has a right to it, or he had one that he ordered. What
// was given to him and taken back leaves nothing to see.
func (c Claim) Visible(now time.Time) bool {
	return c.OrgID == c.Publisher || c.offered() ||
		slices.ContainsFunc(c.Entitlements, func(r Right) bool { return !r.given() || !r.revoked(now) && !r.over(now) })
}

// given reports whether a right came without an order of the buyer.
func (r Right) given() bool { return r.Source == SourceGrant || r.Source == SourceFree }

func (r Right) revoked(now time.Time) bool { return !r.RevokedAt.IsZero() && !now.Before(r.RevokedAt) }

// offered reports whether the caller finds the agent in the catalog or behind a
// link. He may begin to use it while it is published.
func (c Claim) offered() bool {
	out := c.Status == ListingPublished || c.Status == ListingDeprecated || c.Status == ListingSuspended
	return out && (c.Visibility == VisibilityPublic || c.Visibility == VisibilityPrivate && c.Granted)
}

// sold reports whether the caller can order the agent.
func (c Claim) sold() bool {
	return c.OrgID != c.Publisher && c.Status == ListingPublished && c.offered()
}

// Decide answers whether the caller may start a run now. It looks at nothing but
// the claim: whether the agent can run at this moment is not a question of this
// layer. A denial is fault.PaymentRequired or fault.Forbidden with its code.
func (c Claim) Decide(s Subject, now time.Time) (Decision, error) {
	if !c.own() && c.Status == ListingSuspended {
		return Decision{}, fault.New(fault.Forbidden, CodeListingSuspended, "the agent is suspended by the platform")
	}
	d, err := c.right(s, now)
	if err != nil {
		return Decision{}, err
	}
	if !c.Agrees(s.Permissions) {
		return Decision{}, fault.New(fault.Forbidden, CodeConsentRequired,
			"the agent asks for more than your organization has consented to")
	}
	return c.afford(d, s)
}

// own reports whether the caller is the publisher.
func (c Claim) own() bool { return c.OrgID == c.Publisher }

// Agrees reports whether the caller's organization has consented to what an agent
// asks for, or need not.
func (c Claim) Agrees(asked product.Permissions) bool {
	switch {
	case c.own():
		return true
	case c.Installation != nil:
		return c.Installation.Agrees(asked)
	}
	return !asked.NeedsConsent()
}

// right picks the right that costs least. Without one that holds the denial is
// that of the best one that does not.
func (c Claim) right(s Subject, now time.Time) (Decision, error) {
	rights := slices.Clone(c.Entitlements)
	slices.SortStableFunc(rights, func(a, b Right) int { return a.Source.rank() - b.Source.rank() })
	var denial error
	for _, r := range rights {
		err := c.check(r, s, now)
		if err == nil {
			return c.under(r, now), nil
		}
		if denial == nil {
			denial = err
		}
	}
	switch {
	case c.own() && !c.has(SourceOwnership): // its own right was not stored yet
		return Decision{Entitlement: Entitlement{OrgID: c.OrgID, AgentID: c.AgentID, Source: SourceOwnership}}, nil
	case c.Status == ListingPublished && c.offered() && c.free() && !c.hasFree():
		return Decision{Entitlement: Entitlement{OrgID: c.OrgID, AgentID: c.AgentID, Source: SourceFree}}, nil
	case denial != nil && !(c.sold() && ended(denial)):
		return Decision{}, denial
	case c.sold():
		return Decision{}, fault.New(fault.PaymentRequired, CodePaymentRequired, "your organization has not ordered this agent")
	default:
		return Decision{}, fault.New(fault.Forbidden, CodeNotEntitled, "your organization is not entitled to run this agent")
	}
}

func (c Claim) free() bool { return c.Price == nil || c.Price.Model == ModelFree }

// ended reports whether a denial is of a right that is over, so that the way to
// a new one is worth more than the news.
func ended(denial error) bool {
	code := fault.From(denial).Code
	return code == CodeEntitlementExpired || code == CodeEntitlementRevoked
}

// hasFree reports whether the right to a free agent was stored, and thus checked.
func (c Claim) hasFree() bool {
	return slices.ContainsFunc(c.Entitlements, func(r Right) bool { return r.Source == SourceFree && r.RevokedAt.IsZero() })
}

func (c Claim) under(r Right, now time.Time) Decision {
	d := Decision{Entitlement: r.Entitlement}
	if !r.Source.pays() {
		return d
	}
	d.Price = c.priceOf(r)
	u := r.Usage.In(MonthOf(now))
	d.Used = u.Runs
	if d.Price != nil && d.Price.Model == ModelPerSecond {
		d.Used = u.Seconds
	}
	return d
}

// priceOf is what runs under a right cost: the price that it fixes, or the one in
// effect.
func (c Claim) priceOf(r Right) *Price {
	if r.Price != nil {
		return r.Price
	}
	return c.Price
}

// check returns nil while the right allows one more run.
func (c Claim) check(r Right, s Subject, now time.Time) error {
	u := r.Usage.In(MonthOf(now))
	switch {
	case r.revoked(now):
		return fault.New(fault.Forbidden, CodeEntitlementRevoked, "the right of your organization to run this agent was revoked")
	case r.over(now):
		return r.expired()
	case s.Version != "" && !covers(r.Versions, s.Version):
		return fault.Newf(fault.Forbidden, CodeVersionNotCovered, "your right covers versions %s of this agent only", r.Versions)
	case r.Source != SourceSubscription && r.Limits.Runs > 0 && u.Total >= r.Limits.Runs:
		return fault.Newf(fault.PaymentRequired, CodeTrialExhausted, "the trial of %d runs is used up", r.Limits.Runs)
	case r.Limits.RunsPerMonth > 0 && u.Runs >= r.Limits.RunsPerMonth:
		return fault.Newf(fault.Forbidden, CodeRunLimitReached, "your right allows %d runs a month, and they are used up", r.Limits.RunsPerMonth)
	case r.Limits.Concurrent > 0 && u.Active >= r.Limits.Concurrent:
		return fault.Newf(fault.Forbidden, CodeConcurrencyReached, "your right allows %d runs at once", r.Limits.Concurrent)
	case c.includedExhausted(r):
		return fault.Newf(fault.PaymentRequired, CodeIncludedExhausted, "the %d runs of this month that your subscription includes are used up", r.Limits.Included)
	case r.Source == SourceFree && !c.offered():
		return fault.New(fault.Forbidden, CodeNotEntitled, "the agent is not offered to your organization any more")
	case r.Source == SourceFree && !c.free():
		return c.unordered("the agent is not free any more; your organization has not ordered it")
	case r.Source == SourcePurchase && c.subscribed(r):
		return c.unordered("the agent is sold by subscription now; your organization has not ordered one")
	}
	return nil
}

// unordered is the denial of a right that an order would replace.
func (c Claim) unordered(message string) error {
	if !c.sold() {
		return fault.New(fault.Forbidden, CodeNotEntitled, message+", and it is not sold at the moment")
	}
	return fault.New(fault.PaymentRequired, CodePaymentRequired, message)
}

// subscribed reports whether runs under a right are paid by the month, so that
// there is no price for one of them alone.
func (c Claim) subscribed(r Right) bool {
	price := c.priceOf(r)
	return price != nil && price.Model == ModelSubscription
}

func (c Claim) includedExhausted(r Right) bool {
	if r.Source != SourceSubscription || r.includes() {
		return false
	}
	price := c.priceOf(r)
	return price == nil || price.PerRun == 0
}

func (r Right) expired() error {
	switch r.Source {
	case SourceTrial:
		return fault.New(fault.PaymentRequired, CodeTrialExhausted, "the trial has ended")
	case SourceSubscription:
		return fault.New(fault.PaymentRequired, CodeSubscriptionEnded, "the subscription has ended")
	default:
		return fault.New(fault.Forbidden, CodeEntitlementExpired, "the right of your organization to run this agent has expired")
	}
}

// afford quotes the run and compares it with what the buyer has.
func (c Claim) afford(d Decision, s Subject) (Decision, error) {
	switch {
	case d.Price == nil || d.Price.Model == ModelFree:
		d.Price, d.Quote = nil, Quote{Included: true}
	case d.Entitlement.Source == SourceSubscription && d.Entitlement.includes():
		d.Quote = Quote{Included: true, Minimum: d.Price.Of(0), Maximum: d.Price.Of(0)}
	default:
		var err error
		if d.Quote, err = d.Price.Quote(s.Timeout, s.MaxCost, d.Used); err != nil {
			return Decision{}, err
		}
	}
	d.Quote.addModels(s, d.Price)
	most := d.Quote.Maximum
	foreign := c.Wallet.Currency != "" && c.Wallet.Currency != most.Currency
	if most.Micros > 0 && (most.Micros > c.Wallet.Micros || foreign) {
		return Decision{}, fault.Newf(fault.PaymentRequired, CodeInsufficientFunds,
			"the run may cost %s, and your organization's wallet does not have it", most)
	}
	return d, nil
}

// addModels makes room for models beside what the price takes: as much as the caller's
// maximum leaves. Events and models share what is held for events.
func (q *Quote) addModels(s Subject, price *Price) {
	if s.Models.Micros <= 0 || !q.Included && price.Model == ModelPerEvent ||
		price != nil && price.Currency != s.Models.Currency {
		return
	}
	room := min(s.Models.Micros, money.MaxMicros-q.Maximum.Micros)
	if s.MaxCost.Currency != "" {
		if s.MaxCost.Currency != s.Models.Currency {
			return
		}
		room = max(0, min(room, s.MaxCost.Micros-q.Maximum.Micros))
	}
	q.Maximum = money.Of(q.Maximum.Micros+room, s.Models.Currency)
}
