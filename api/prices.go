package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

// priceBody is a price as publishers set it and buyers see it. Which members
// belong to it follows from the model.
type priceBody struct {
	ID            string           `json:"id,omitempty" readOnly:"true" maxLength:"30" example:"prc_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Model         string           `json:"model" enum:"free,per_run,per_second,per_event,subscription"`
	Currency      string           `json:"currency" minLength:"3" maxLength:"3" doc:"ISO 4217, that of the platform." example:"USD"`
	PerRun        int64            `json:"per_run_micros,omitempty" minimum:"0" maximum:"1000000000000" doc:"For each run: of per_run; the entrance fee of per_event; of a subscription each run beyond those included, absent: there are none beyond." example:"250000"`
	PerSecond     int64            `json:"per_second_micros,omitempty" minimum:"0" maximum:"1000000000000" doc:"For each second of run time, begun ones whole."`
	Events        []eventPriceBody `json:"events,omitempty" maxItems:"50" doc:"What the agent charges for by name."`
	Monthly       int64            `json:"monthly_micros,omitempty" minimum:"0" maximum:"1000000000000" doc:"The fee of a subscription."`
	IncludedRuns  int64            `json:"included_runs,omitempty" minimum:"0" maximum:"100000000" doc:"Runs that each paid month of a subscription includes; absent: any number."`
	Tiers         []tierBody       `json:"tiers,omitempty" maxItems:"10" doc:"Unit prices by the units that the buyer has used in the month."`
	MaxPerRun     int64            `json:"max_per_run_micros,omitempty" minimum:"0" maximum:"1000000000000" doc:"What one run may cost at most. Required by per_event."`
	Trial         *trialBody       `json:"trial,omitempty" doc:"Lets a buyer try for free."`
	FailedRuns    string           `json:"failed_runs,omitempty" enum:"free,charged" default:"free" doc:"What a run costs that failed by the agent's own fault. What fails by the platform's is always free."`
	EffectiveFrom *time.Time       `json:"effective_from,omitempty" doc:"Default: now. A raise needs the platform's notice period." example:"2027-01-01T00:00:00Z"`
	CreatedAt     *time.Time       `json:"created_at,omitempty" readOnly:"true"`
}

type eventPriceBody struct {
	Name   string `json:"name" pattern:"^[a-z][a-z0-9_.-]{0,62}$" example:"page_read"`
	Title  string `json:"title" minLength:"1" maxLength:"80" example:"A page that was read"`
	Micros int64  `json:"amount_micros" minimum:"1" maximum:"1000000000000" example:"1000"`
}

type tierBody struct {
	After  int64 `json:"after" minimum:"1" maximum:"100000000" doc:"Units used in the month: runs, or seconds." example:"1000"`
	Micros int64 `json:"amount_micros" minimum:"0" maximum:"1000000000000" example:"200000"`
}

type trialBody struct {
	Runs int64 `json:"runs,omitempty" minimum:"0" maximum:"1000" example:"3"`
	Days int64 `json:"days,omitempty" minimum:"0" maximum:"90"`
}

func priceBodyOf(p marketplace.Price) priceBody {
	body := priceBody{
		ID: string(p.ID), Model: string(p.Model), Currency: p.Currency, PerRun: p.PerRun, PerSecond: p.PerSecond,
		Monthly: p.Monthly, IncludedRuns: p.IncludedRuns, MaxPerRun: p.MaxPerRun, FailedRuns: string(p.FailedRuns),
		EffectiveFrom: when(p.EffectiveFrom), CreatedAt: when(p.CreatedAt),
	}
	for _, e := range p.Events {
		body.Events = append(body.Events, eventPriceBody(e))
	}
	for _, t := range p.Tiers {
		body.Tiers = append(body.Tiers, tierBody(t))
	}
	if p.Trial.Offered() {
		body.Trial = &trialBody{Runs: p.Trial.Runs, Days: p.Trial.Days}
	}
	return body
}

// priceFrom reads a price; the marketplace checks what belongs to its model.
func (a *app) priceFrom(agent ids.Agent, body priceBody, by string, now time.Time) (marketplace.Price, error) {
	if _, err := a.amount(amountBody{Currency: body.Currency}, ""); err != nil {
		return marketplace.Price{}, err
	}
	p := marketplace.Price{
		ID: ids.New[ids.Price](ids.PrefixPrice), AgentID: agent, Currency: body.Currency, Model: marketplace.Model(body.Model),
		PerRun: body.PerRun, PerSecond: body.PerSecond, Monthly: body.Monthly, IncludedRuns: body.IncludedRuns,
		MaxPerRun: body.MaxPerRun, FailedRuns: marketplace.FailedRuns(body.FailedRuns), CreatedBy: by, CreatedAt: now,
	}
	if p.FailedRuns == "" {
		p.FailedRuns = marketplace.FailedRunsFree
	}
	for _, e := range body.Events {
		p.Events = append(p.Events, marketplace.EventPrice(e))
	}
	for _, t := range body.Tiers {
		p.Tiers = append(p.Tiers, marketplace.Tier(t))
	}
	if body.Trial != nil {
		p.Trial = marketplace.Trial(*body.Trial)
	}
	p.EffectiveFrom = p.CreatedAt
	if body.EffectiveFrom != nil {
		p.EffectiveFrom = *body.EffectiveFrom
	}
	return p, p.Check()
}

type (
	setPriceInput struct {
		Publisher string `path:"publisher"`
		Name      string `path:"name"`
		Body      priceBody
	}
	priceInput struct {
		Publisher string `path:"publisher"`
		Name      string `path:"name"`
		ID        string `path:"id" example:"prc_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	priceAnswer struct {
		Location string `header:"Location"`
		Body     priceBody
	}
	pricesAnswer struct{ Body page[priceBody] }
	emptyAnswer  struct{}
)

func (a *app) routePrices() {
	handle(a, route{
		id: "set-price", method: http.MethodPost, path: "/v1/agents/{publisher}/{name}/prices", tag: tagPublishing,
		action: marketplace.ActPricesManage, status: http.StatusCreated, summary: "Set the price of an agent from a moment on",
		description: "A price never changes: a new one takes its place. Once the agent was published a raise must be announced: " +
			"it takes effect after the platform's notice period. Runs, and months of subscriptions, keep the price that they started with.",
		problems: []string{"agent_not_found", "price_notice", "price_order", "too_many"},
	}, a.setPrice)
	handle(a, route{
		id: "list-prices", method: http.MethodGet, path: "/v1/agents/{publisher}/{name}/prices", tag: tagCatalog,
		action: marketplace.ActAgentsRead, summary: "List the prices of an agent: announced, in effect and past, the latest first",
		problems: []string{"agent_not_found"},
	}, a.listPrices)
	handle(a, route{
		id: "cancel-price", method: http.MethodDelete, path: "/v1/agents/{publisher}/{name}/prices/{id}", tag: tagPublishing,
		action: marketplace.ActPricesManage, status: http.StatusNoContent, summary: "Take back a price that is announced and not in effect yet",
		problems: []string{"agent_not_found", "price_not_found", "price_in_effect"},
	}, a.cancelPrice)
}

func (a *app) setPrice(ctx context.Context, in *setPriceInput) (*priceAnswer, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	now := a.Now()
	price, err := a.priceFrom(agent.ID, in.Body, actor(ctx).ID, now)
	if err != nil {
		return nil, err
	}
	notice, err := a.noticeFor(ctx, agent.ID)
	if err != nil {
		return nil, err
	}
	err = a.Marketplace.SetPrice(ctx, actor(ctx), price, func(known []marketplace.Price) error {
		return marketplace.Announce(known, price, notice, now)
	})
	if err != nil {
		return nil, err
	}
	return &priceAnswer{Location: agentPath(in.Publisher, in.Name) + "/prices", Body: priceBodyOf(price)}, nil
}

// noticeFor is the notice period that a raise needs: none before anybody could
// have seen the agent.
func (a *app) noticeFor(ctx context.Context, agent ids.Agent) (time.Duration, error) {
	listing, err := a.Marketplace.Listing(ctx, agent)
	if isNotFound(err) || err == nil && listing.PublishedAt.IsZero() {
		return 0, nil
	}
	return a.Policy.PriceNotice, err
}

func (a *app) listPrices(ctx context.Context, in *agentInput) (*pricesAnswer, error) {
	agent, _, err := a.claim(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	prices, err := a.Marketplace.Prices(ctx, agent.ID)
	if err != nil {
		return nil, err
	}
	items := make([]priceBody, len(prices))
	for i, p := range prices {
		items[i] = priceBodyOf(p)
	}
	return &pricesAnswer{page[priceBody]{Items: items}}, nil
}

func (a *app) cancelPrice(ctx context.Context, in *priceInput) (*emptyAnswer, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	if err := known(ids.PrefixPrice, in.ID, "price"); err != nil {
		return nil, err
	}
	return nil, a.Marketplace.CancelPrice(ctx, actor(ctx), agent.ID, ids.Price(in.ID), a.Now())
}

// costLineBody is a part of what a run cost.
type costLineBody struct {
	Kind     string     `json:"kind" doc:"run, run_time, event, model (quantity: its tokens); budget_cap takes back what is over the budget." example:"run_time"`
	Event    string     `json:"event,omitempty"`
	Quantity int64      `json:"quantity" example:"42"`
	Amount   amountBody `json:"amount"`
}

func costLineBodies(lines []marketplace.CostLine) []costLineBody {
	bodies := make([]costLineBody, len(lines))
	for i, l := range lines {
		bodies[i] = costLineBody{Kind: string(l.Kind), Event: l.Event, Quantity: l.Quantity, Amount: amountBodyOf(l.Amount)}
	}
	return bodies
}
