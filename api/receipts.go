package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// receiptBody is what a run cost, and why.
type receiptBody struct {
	RunID     string         `json:"run_id"`
	Agent     string         `json:"agent" example:"acme/greeter"`
	Source    string         `json:"source" doc:"The right that the run started under." example:"purchase"`
	Price     *priceBody     `json:"price,omitempty" doc:"The price that the run started with. Absent: it is free."`
	Included  bool           `json:"included" doc:"A subscription, a trial or a right paid for the run."`
	Held      *amountBody    `json:"held,omitempty" doc:"What was set aside when it started."`
	Charged   *amountBody    `json:"charged,omitempty" doc:"Absent until the run is settled."`
	Refunded  *amountBody    `json:"refunded,omitempty"`
	Costs     []costLineBody `json:"costs" doc:"What the charge is made of."`
	ChargeID  string         `json:"charge_id,omitempty" doc:"The transaction, to refund it."`
	StartedAt time.Time      `json:"held_at"`
	SettledAt *time.Time     `json:"settled_at,omitempty"`
}

type receiptAnswer struct{ Body receiptBody }

func (a *app) routeReceipts() {
	handle(a, route{
		id: "get-receipt", method: http.MethodGet, path: "/v1/runs/{id}/receipt", tag: tagRuns, action: marketplace.ActRunsRead,
		summary:  "Get the receipt of a run: what was held, what it cost and under which price",
		problems: []string{"run_not_found", "receipt_not_ready"},
	}, a.getReceipt)
}

func (a *app) getReceipt(ctx context.Context, in *runInput) (*receiptAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	hold, err := a.Marketplace.HoldOf(ctx, run.ID)
	if isNotFound(err) {
		return nil, fault.New(fault.NotFound, "receipt_not_ready", "nothing was held for the run: it has not been admitted")
	}
	if err != nil {
		return nil, err
	}
	moved, err := a.Marketplace.TransactionsOfRun(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	body := receiptBody{
		RunID: string(run.ID), Agent: run.Agent, Source: string(hold.Source), Included: hold.Included,
		Held: amountBodyOrNil(hold.Amount), StartedAt: hold.CreatedAt.UTC(), SettledAt: when(hold.SettledAt), Costs: []costLineBody{},
	}
	if hold.Price.Model != "" {
		body.Price = new(priceBodyOf(hold.Price))
	}
	if !hold.SettledAt.IsZero() {
		body.Charged = amountBodyOrNil(hold.Charged)
	}
	var refunded money.Amount
	for _, t := range moved {
		switch t.Kind {
		case marketplace.TxCharge:
			body.ChargeID, body.Costs = string(t.ID), costLineBodies(t.Costs)
		case marketplace.TxRefund:
			if refunded, err = money.Add(refunded, t.To(marketplace.AccountOf(marketplace.AccountWallet, run.OrgID))); err != nil {
				return nil, err
			}
		default: // holds and releases are the rest of the receipt
		}
	}
	body.Refunded = amountBodyOrNil(refunded)
	return &receiptAnswer{body}, nil
}
