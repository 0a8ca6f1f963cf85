package api

import (
	"context"
	"net/http"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

type (
	creditRequest struct {
		Amount amountBody `json:"amount"`
		Reason string     `json:"reason" minLength:"1" maxLength:"500" example:"bank transfer of 2026-11-20"`
	}
	creditInput struct {
		Org            string `path:"org" maxLength:"40"`
		IdempotencyKey string `header:"Idempotency-Key" doc:"The same key and the same request credit once."`
		Body           creditRequest
	}
	creditLimitRequest struct {
		Credit amountBody `json:"credit" doc:"How far the wallet may go below zero."`
	}
	creditLimitInput struct {
		Org  string `path:"org" maxLength:"40"`
		Body creditLimitRequest
	}
	topUpInput struct {
		ID string `path:"id" example:"top_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	oneTopUp struct{ Body topUpBody }
)

func (a *app) routePlatformBilling() {
	handle(a, route{
		id: "credit-wallet", method: http.MethodPost, path: "/v1/platform/organizations/{org}/credits", tag: tagPlatform,
		action: marketplace.ActPlatformBilling, status: http.StatusCreated, alsoStatus: http.StatusOK, summary: "Credit a wallet",
		problems: []string{"organization_not_found", "idempotency_key_invalid", "idempotency_key_reused"},
	}, a.creditWallet)
	handle(a, route{
		id: "set-credit-limit", method: http.MethodPut, path: "/v1/platform/organizations/{org}/credit-limit", tag: tagPlatform,
		action: marketplace.ActPlatformBilling, summary: "Set how far a wallet may go below zero", problems: []string{"organization_not_found", "credit_in_use"},
	}, a.setCreditLimit)
	handle(a, route{
		id: "pay-out", method: http.MethodPost, path: "/v1/platform/organizations/{org}/payouts", tag: tagPlatform,
		action: marketplace.ActPlatformBilling, status: http.StatusCreated, alsoStatus: http.StatusOK, summary: "Record that earnings were paid out",
		problems: []string{"organization_not_found", "insufficient_funds", "idempotency_key_invalid", "idempotency_key_reused"},
	}, a.payOut)
	handle(a, route{
		id: "list-all-top-ups", method: http.MethodGet, path: "/v1/platform/top-ups", tag: tagPlatform,
		action: marketplace.ActPlatformRead, summary: "List the payments of all organizations", problems: []string{"cursor_invalid"},
	}, a.listAllTopUps)
	handle(a, route{
		id: "confirm-top-up", method: http.MethodPost, path: "/v1/platform/top-ups/{id}/confirm", tag: tagPlatform, optionalBody: true,
		action: marketplace.ActPlatformBilling, summary: "Confirm a payment and credit the wallet, once", problems: []string{"top_up_not_found", "top_up_state"},
	}, a.confirmTopUp)
}

func (a *app) creditWallet(ctx context.Context, in *creditInput) (*transactionAnswer, error) {
	return a.post(ctx, in, func(org ids.Org, amount money.Amount) (marketplace.Transaction, error) {
		return marketplace.CreditMoney(org, amount, in.Body.Reason, a.Now())
	})
}

func (a *app) payOut(ctx context.Context, in *creditInput) (*transactionAnswer, error) {
	return a.post(ctx, in, func(org ids.Org, amount money.Amount) (marketplace.Transaction, error) {
		return marketplace.PayoutMoney(org, amount, in.Body.Reason, a.Now())
	})
}

// post moves money between an organization and the world outside.
func (a *app) post(ctx context.Context, in *creditInput, move func(ids.Org, money.Amount) (marketplace.Transaction, error)) (*transactionAnswer, error) {
	key, err := idempotencyKey(requestOf(ctx))
	if err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	amount, err := a.amount(in.Body.Amount, "/amount")
	if err != nil {
		return nil, err
	}
	if amount.Micros < 1 || amount.Micros > marketplace.MaxTopUp {
		return nil, requestInvalid(fault.Field{Pointer: "/amount/amount_micros", Message: "must be between one micro-unit and ten million units"})
	}
	t, err := move(org.ID, amount)
	if err != nil {
		return nil, err
	}
	t.CreatedBy = actor(ctx).ID
	t, created, err := a.Marketplace.Post(ctx, actor(ctx), t, key)
	if err != nil {
		return nil, err
	}
	answer := &transactionAnswer{Status: http.StatusCreated, Body: transactionBodyFor("", t)}
	if !created {
		answer.Status, answer.Replayed = http.StatusOK, "true"
	}
	return answer, nil
}

func (a *app) setCreditLimit(ctx context.Context, in *creditLimitInput) (*walletAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	credit, err := a.amount(in.Body.Credit, "/credit")
	if err != nil {
		return nil, err
	}
	if _, err := a.Marketplace.SetCredit(ctx, actor(ctx), org.ID, credit, a.Now()); err != nil {
		return nil, err
	}
	body, err := a.walletBody(ctx, org)
	return &walletAnswer{body}, err
}

func (a *app) listAllTopUps(ctx context.Context, in *listInput) (*topUpsAnswer, error) {
	before, err := decodeCursor[ids.TopUp](ids.PrefixTopUp, in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.TopUps(ctx, "", before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &topUpsAnswer{pageOf(found, in.Limit, func(t marketplace.TopUp) ids.TopUp { return t.ID }, topUpBodyOf)}, nil
}

func (a *app) confirmTopUp(ctx context.Context, in *topUpInput) (*oneTopUp, error) {
	if err := known(ids.PrefixTopUp, in.ID, "top_up"); err != nil {
		return nil, err
	}
	t, err := a.Marketplace.ConfirmTopUp(ctx, actor(ctx), ids.TopUp(in.ID), a.Now())
	if err != nil {
		return nil, err
	}
	return &oneTopUp{topUpBodyOf(t)}, nil
}
