package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

type orgInput struct {
	Org string `path:"org" maxLength:"40" doc:"The name of the organization." example:"acme"`
}

type walletBody struct {
	Organization string      `json:"organization" example:"acme"`
	Available    amountBody  `json:"available" doc:"What new runs and orders may use, credit included."`
	Balance      amountBody  `json:"balance" doc:"Of the wallet, without what is held."`
	Held         amountBody  `json:"held" doc:"Set aside for runs that go on."`
	Credit       amountBody  `json:"credit" doc:"How far the wallet may go below zero."`
	Earnings     *amountBody `json:"earnings,omitempty" doc:"From the organization's own agents, not paid out yet."`
}

type (
	walletAnswer      struct{ Body walletBody }
	transactionsInput struct {
		Org     string `path:"org" maxLength:"40"`
		Account string `query:"account" enum:"wallet,held,earnings" default:"wallet"`
		Limit   int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor  string `query:"cursor" maxLength:"200"`
	}
	transactionsAnswer struct{ Body page[transactionBody] }
	transactionInput   struct {
		ID string `path:"id" example:"txn_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	transactionAnswer struct {
		Status   int
		Replayed string `header:"Idempotency-Replayed" doc:"true when it was there before."`
		Body     transactionBody
	}
	oneTransaction struct{ Body transactionBody }
)

// transactionBody is a balanced movement of money, as the account of one
// organization sees it.
type transactionBody struct {
	ID        string         `json:"id" example:"txn_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Kind      string         `json:"kind" doc:"hold, charge, release, subscription, refund, credit, payout. The set may grow."`
	RunID     string         `json:"run_id,omitempty"`
	OrderID   string         `json:"order_id,omitempty"`
	Refunds   string         `json:"refunds,omitempty" doc:"The transaction that is refunded."`
	Agent     string         `json:"agent,omitempty" example:"acme/greeter"`
	Reason    string         `json:"reason,omitempty"`
	Month     string         `json:"month" doc:"Whose statement it is on." example:"2026-11"`
	Lines     []ledgerLine   `json:"lines" doc:"The sides that concern the organization."`
	Costs     []costLineBody `json:"costs,omitempty" doc:"What a charge is made of."`
	CreatedBy string         `json:"created_by,omitempty" doc:"Of refunds, credits and payouts for operators only."`
	CreatedAt time.Time      `json:"created_at"`
}

type ledgerLine struct {
	Account string     `json:"account" doc:"wallet, held or earnings; of operators also fees and external."`
	Amount  amountBody `json:"amount" doc:"What the account gains; negative: loses."`
	Balance amountBody `json:"balance" doc:"Of the account, afterwards."`
}

func (a *app) routeBilling() {
	a.routeStatements()
	a.routeSpending()
	handle(a, route{
		id: "get-wallet", method: http.MethodGet, path: "/v1/organizations/{org}/wallet", tag: tagBilling, action: marketplace.ActBillingRead,
		summary: "Get the wallet of an organization", problems: []string{"organization_not_found"},
	}, a.getWallet)
	handle(a, route{
		id: "list-transactions", method: http.MethodGet, path: "/v1/organizations/{org}/transactions", tag: tagBilling,
		action: marketplace.ActBillingRead, summary: "List the transactions of an account", problems: []string{"organization_not_found", "cursor_invalid"},
	}, a.listTransactions)
	handle(a, route{
		id: "get-transaction", method: http.MethodGet, path: "/v1/transactions/{id}", tag: tagBilling, action: marketplace.ActBillingRead,
		summary: "Get a transaction", problems: []string{"transaction_not_found"},
	}, a.getTransaction)
	handle(a, route{
		id: "refund-transaction", method: http.MethodPost, path: "/v1/transactions/{id}/refund", tag: tagBilling,
		action: marketplace.ActRefundsCreate, status: http.StatusCreated, alsoStatus: http.StatusOK,
		summary: "Refund a charge or a month of a subscription",
		description: "For the publisher who earned it, as far as its earnings go, and for operators. The publisher and the platform give back in the proportion in which they got. " +
			"200 for the refund that the same request made before.",
		problems: []string{"transaction_not_found", "refund_forbidden", "not_refundable", "refund_amount", "insufficient_funds", "idempotency_key_invalid", "idempotency_key_reused"},
	}, a.refundTransaction)
	handle(a, route{
		id: "create-top-up", method: http.MethodPost, path: "/v1/organizations/{org}/top-ups", tag: tagBilling,
		action: marketplace.ActBillingManage, status: http.StatusCreated, alsoStatus: http.StatusOK, summary: "Pay into the wallet",
		description: "Answers how to pay. The wallet is credited when the payment is confirmed.",
		problems:    []string{"organization_not_found", "idempotency_key_invalid", "idempotency_key_reused"},
	}, a.createTopUp)
	handle(a, route{
		id: "list-top-ups", method: http.MethodGet, path: "/v1/organizations/{org}/top-ups", tag: tagBilling,
		action: marketplace.ActBillingRead, summary: "List the payments into the wallet", problems: []string{"organization_not_found", "cursor_invalid"},
	}, a.listTopUps)
}

// transactionBodyFor shows an organization the sides of a transaction that are
// its own; an operator (org is empty) sees all of them.
func transactionBodyFor(org ids.Org, t marketplace.Transaction) transactionBody {
	body := transactionBody{
		ID: string(t.ID), Kind: string(t.Kind), RunID: string(t.RunID), OrderID: string(t.OrderID), Refunds: string(t.Of),
		Agent: t.Agent, Reason: t.Reason, Month: string(t.Month), CreatedAt: t.CreatedAt.UTC(), Lines: []ledgerLine{},
		Costs: costLineBodies(t.Costs),
	}
	if t.OrgID != org && org != "" { // a publisher does not learn which run of which buyer it was
		body.RunID, body.OrderID = "", ""
	} else if org == "" || !madeByOthers(t.Kind) {
		body.CreatedBy = t.CreatedBy
	}
	for _, l := range t.Lines {
		kind, whose := l.Account.Split()
		if org == "" || whose == org {
			body.Lines = append(body.Lines, ledgerLine{Account: kind, Amount: amountBodyOf(l.Amount), Balance: amountBodyOf(l.Balance)})
		}
	}
	return body
}

// madeByOthers reports whether transactions of a kind are made by a publisher or
// an operator, whose people are no concern of the organization that gets them.
func madeByOthers(kind marketplace.TransactionKind) bool {
	return kind == marketplace.TxRefund || kind == marketplace.TxCredit || kind == marketplace.TxPayout
}

func (a *app) getWallet(ctx context.Context, in *orgInput) (*walletAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	body, err := a.walletBody(ctx, org)
	return &walletAnswer{body}, err
}

func (a *app) walletBody(ctx context.Context, org marketplace.Organization) (walletBody, error) {
	accounts, err := a.Marketplace.Accounts(ctx, org.ID)
	if err != nil {
		return walletBody{}, err
	}
	body := walletBody{Organization: org.Name}
	for _, acc := range accounts {
		balance := amountBody{acc.Balance.Micros, a.Policy.Currency}
		switch acc.Kind {
		case marketplace.AccountWallet:
			body.Balance, body.Credit = balance, amountBody{acc.Credit.Micros, a.Policy.Currency}
			body.Available = amountBody{acc.Balance.Micros + acc.Credit.Micros, a.Policy.Currency}
		case marketplace.AccountHeld:
			body.Held = balance
		case marketplace.AccountEarnings:
			body.Earnings = &balance
		case marketplace.AccountFees, marketplace.AccountExternal: // not an organization's
		}
	}
	return body, nil
}

func (a *app) listTransactions(ctx context.Context, in *transactionsInput) (*transactionsAnswer, error) {
	before, err := decodeCursor[ids.Transaction](ids.PrefixTransaction, in.Cursor)
	if err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	account := marketplace.AccountOf(marketplace.AccountKind(in.Account), org.ID)
	found, err := a.Marketplace.Transactions(ctx, account, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &transactionsAnswer{pageOf(found, in.Limit, func(t marketplace.Transaction) ids.Transaction { return t.ID },
		func(t marketplace.Transaction) transactionBody { return transactionBodyFor(org.ID, t) })}, nil
}

// transaction finds a transaction that touches the caller's organization.
func (a *app) transaction(ctx context.Context, id string) (marketplace.Transaction, error) {
	if err := known(ids.PrefixTransaction, id, "transaction"); err != nil {
		return marketplace.Transaction{}, err
	}
	t, err := a.Marketplace.Transaction(ctx, ids.Transaction(id))
	who := requestOf(ctx).caller
	if err == nil && !who.Reaches(t.OrgID) && !who.Reaches(t.Publisher) {
		return t, fault.Newf(fault.NotFound, "transaction_not_found", "there is no transaction %s", id)
	}
	return t, err
}

func (a *app) getTransaction(ctx context.Context, in *transactionInput) (*oneTransaction, error) {
	t, err := a.transaction(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &oneTransaction{transactionBodyFor(a.viewOf(ctx), t)}, nil
}

// viewOf is whose side of a transaction the caller sees.
func (*app) viewOf(ctx context.Context) ids.Org {
	who := requestOf(ctx).caller
	if who.Role == marketplace.RoleOperator {
		return ""
	}
	return who.OrgID
}

type (
	refundRequest struct {
		Amount *amountBody `json:"amount,omitempty" doc:"Default: all that is left."`
		Reason string      `json:"reason" minLength:"1" maxLength:"500" example:"wrong result"`
	}
	refundInput struct {
		ID             string `path:"id"`
		IdempotencyKey string `header:"Idempotency-Key" doc:"The same key and the same request refund once."`
		Body           refundRequest
	}
)

func (a *app) refundTransaction(ctx context.Context, in *refundInput) (*transactionAnswer, error) {
	key, err := idempotencyKey(requestOf(ctx))
	if err != nil {
		return nil, err
	}
	t, err := a.transaction(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if who := requestOf(ctx).caller; !who.Reaches(t.Publisher) { // a buyer sees it and asks the publisher
		return nil, fault.New(fault.Forbidden, "refund_forbidden", "only the publisher and the platform's operators can refund this")
	}
	var amount money.Amount
	if in.Body.Amount != nil {
		if amount, err = a.amount(*in.Body.Amount, "/amount"); err != nil {
			return nil, err
		}
	}
	refund, created, err := a.Marketplace.Refund(ctx, actor(ctx), t.ID, key,
		func(of marketplace.Transaction, refunded money.Amount) (marketplace.Transaction, error) {
			if in.Body.Amount == nil {
				amount = of.Left(refunded)
			}
			refund, err := marketplace.RefundMoney(of, refunded, amount, in.Body.Reason, a.Now())
			refund.Overdraw = requestOf(ctx).caller.Role == marketplace.RoleOperator
			return refund, err
		})
	if err != nil {
		return nil, err
	}
	answer := &transactionAnswer{Status: http.StatusCreated, Body: transactionBodyFor(a.viewOf(ctx), refund)}
	if !created {
		answer.Status, answer.Replayed = http.StatusOK, "true"
	}
	return answer, nil
}

type (
	topUpBody struct {
		ID           string     `json:"id" example:"top_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Organization string     `json:"organization_id"`
		Amount       amountBody `json:"amount"`
		Status       string     `json:"status" doc:"pending, confirmed or canceled."`
		Provider     string     `json:"provider" example:"manual"`
		Reference    string     `json:"reference" doc:"Name it with the payment."`
		URL          string     `json:"url,omitempty" doc:"Where to pay."`
		Instructions string     `json:"instructions,omitempty"`
		CreatedAt    time.Time  `json:"created_at"`
		ConfirmedAt  *time.Time `json:"confirmed_at,omitempty"`
	}
	topUpRequest struct {
		Amount amountBody `json:"amount"`
	}
	createTopUpInput struct {
		Org            string `path:"org" maxLength:"40"`
		IdempotencyKey string `header:"Idempotency-Key"`
		Body           topUpRequest
	}
	topUpAnswer struct {
		Status   int
		Replayed string `header:"Idempotency-Replayed" doc:"true when it was there before."`
		Body     topUpBody
	}
	topUpsInput struct {
		Org    string `path:"org" maxLength:"40"`
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor string `query:"cursor" maxLength:"200"`
	}
	topUpsAnswer struct{ Body page[topUpBody] }
)

func topUpBodyOf(t marketplace.TopUp) topUpBody {
	return topUpBody{
		ID: string(t.ID), Organization: string(t.OrgID), Amount: amountBodyOf(t.Amount), Status: string(t.Status), Provider: t.Provider,
		Reference: t.Reference, URL: t.URL, Instructions: t.Instructions, CreatedAt: t.CreatedAt.UTC(), ConfirmedAt: when(t.ConfirmedAt),
	}
}

func (a *app) createTopUp(ctx context.Context, in *createTopUpInput) (*topUpAnswer, error) {
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
	top, err := marketplace.NewTopUp(org.ID, amount, actor(ctx).ID, a.Now())
	if err != nil {
		return nil, err
	}
	intent, err := a.Payments.Begin(ctx, top)
	if err != nil {
		return nil, err
	}
	top.Provider, top.Reference, top.URL, top.Instructions = a.Payments.Name(), intent.Reference, intent.URL, intent.Instructions
	top, created, err := a.Marketplace.CreateTopUp(ctx, actor(ctx), top, key)
	if err != nil {
		return nil, err
	}
	answer := &topUpAnswer{Status: http.StatusCreated, Body: topUpBodyOf(top)}
	if !created {
		answer.Status, answer.Replayed = http.StatusOK, "true"
	}
	return answer, nil
}

func (a *app) listTopUps(ctx context.Context, in *topUpsInput) (*topUpsAnswer, error) {
	before, err := decodeCursor[ids.TopUp](ids.PrefixTopUp, in.Cursor)
	if err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.TopUps(ctx, org.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &topUpsAnswer{pageOf(found, in.Limit, func(t marketplace.TopUp) ids.TopUp { return t.ID }, topUpBodyOf)}, nil
}
