package api

import (
	"context"
	"net/http"

	"agentmarket/fault"
	"agentmarket/marketplace"
)

type (
	statementInput struct {
		Org   string `path:"org" maxLength:"40"`
		Month string `path:"month" maxLength:"7" doc:"Year and month, in UTC." example:"2026-11"`
	}
	statementAnswer struct{ Body statementBody }
)

// statementBody is the invoice of a month.
type statementBody struct {
	Organization string          `json:"organization"`
	Month        string          `json:"month" example:"2026-11"`
	Opening      amountBody      `json:"opening" doc:"Of the wallet, with what was held."`
	Lines        []statementLine `json:"lines"`
	Closing      amountBody      `json:"closing" doc:"Opening plus all lines."`
	Held         amountBody      `json:"held" doc:"Of closing: set aside for runs that go on."`
	Earnings     earningsBody    `json:"earnings" doc:"From the organization's own agents."`
}

type earningsBody struct {
	Opening amountBody      `json:"opening"`
	Lines   []statementLine `json:"lines"`
	Closing amountBody      `json:"closing"`
}

type statementLine struct {
	Kind   string     `json:"kind" example:"charge"`
	Agent  string     `json:"agent,omitempty" example:"acme/greeter"`
	Count  int64      `json:"count" doc:"Of transactions."`
	Amount amountBody `json:"amount" doc:"What the organization gained; negative: paid."`
}

func (a *app) routeStatements() {
	handle(a, route{
		id: "get-statement", method: http.MethodGet, path: "/v1/organizations/{org}/statements/{month}", tag: tagBilling,
		action: marketplace.ActBillingRead, summary: "Get the statement of a month: the invoice",
		problems: []string{"organization_not_found", "statement_not_found"},
	}, a.getStatement)
}

func (a *app) getStatement(ctx context.Context, in *statementInput) (*statementAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	month := marketplace.Month(in.Month)
	if from, _, ok := month.Bounds(); !ok || from.After(a.Now()) {
		return nil, fault.Newf(fault.NotFound, "statement_not_found", "there is no statement of %s", in.Month)
	}
	s, err := a.Marketplace.Statement(ctx, org.ID, month, a.Policy.Currency)
	if err != nil {
		return nil, err
	}
	return &statementAnswer{statementBody{
		Organization: org.Name, Month: in.Month,
		Opening: amountBodyOf(s.Opening), Closing: amountBodyOf(s.Closing), Held: amountBodyOf(s.Held), Lines: statementLines(s.Lines),
		Earnings: earningsBody{amountBodyOf(s.EarningsOpening), statementLines(s.Earnings), amountBodyOf(s.EarningsClosing)},
	}}, nil
}

func statementLines(lines []marketplace.StatementLine) []statementLine {
	bodies := make([]statementLine, len(lines))
	for i, l := range lines {
		bodies[i] = statementLine{Kind: string(l.Kind), Agent: l.Agent, Count: l.Count, Amount: amountBodyOf(l.Amount)}
	}
	return bodies
}
