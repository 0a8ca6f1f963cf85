package store

import (
	"slices"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

type accountRow struct {
	ID            string
	Kind          string
	OrgID         string
	BalanceMicros int64
	CreditMicros  int64
	Currency      string // empty before the first movement
	LastSeq       int64
	LastMonth     string
}

func (accountRow) TableName() string { return "accounts" }

func accountFromRow(r accountRow) marketplace.Account {
	return marketplace.Account{
		ID: ids.Account(r.ID), Kind: marketplace.AccountKind(r.Kind), OrgID: ids.Org(r.OrgID),
		Balance: money.Of(r.BalanceMicros, r.Currency), Credit: money.Of(r.CreditMicros, r.Currency),
	}
}

// transactionRow is a transaction of the ledger. It is inserted, never updated.
type transactionRow struct {
	ID          string
	Kind        string
	OrgID       string
	PublisherID string
	RunID       string
	OrderID     string
	OfID        string
	AgentID     string
	Agent       string
	Reason      string
	Month       string
	Costs       document[[]costTerms]
	CreatedBy   string
	CreatedAt   stamp
}

func (transactionRow) TableName() string { return "ledger_transactions" }

// transactionColumns are the columns of a transactionRow, in its order, for
// statements in SQL text.
const transactionColumns = `id, kind, org_id, publisher_id, run_id, order_id, of_id, agent_id, agent,
reason, month, costs, created_by, created_at`

// costTerms is one line of what a run cost.
type costTerms struct {
	Kind     string `json:"kind"`
	Event    string `json:"event,omitempty"`
	Quantity int64  `json:"quantity"`
	Micros   int64  `json:"micros"`
	Currency string `json:"currency"`
}

// lineRow is one side of a transaction. It is inserted, never updated.
type lineRow struct {
	AccountID     string
	TransactionID string
	Month         string
	AmountMicros  int64
	BalanceMicros int64
	Currency      string
	Seq           int64
}

func (lineRow) TableName() string { return "ledger_lines" }

func rowFromTransaction(t marketplace.Transaction) transactionRow {
	costs := make([]costTerms, len(t.Costs))
	for i, c := range t.Costs {
		costs[i] = costTerms{string(c.Kind), c.Event, c.Quantity, c.Amount.Micros, c.Amount.Currency}
	}
	return transactionRow{
		ID: string(t.ID), Kind: string(t.Kind), OrgID: string(t.OrgID), PublisherID: string(t.Publisher),
		RunID: string(t.RunID), OrderID: string(t.OrderID), OfID: string(t.Of), AgentID: string(t.AgentID), Agent: t.Agent,
		Reason: printable(t.Reason), Month: string(t.Month), Costs: documentOf(costs),
		CreatedBy: t.CreatedBy, CreatedAt: at(t.CreatedAt),
	}
}

// transactionFromRow puts a transaction and its lines together; the lines come in
// the order in which accounts are locked.
func transactionFromRow(r transactionRow, lines []lineRow) marketplace.Transaction {
	t := marketplace.Transaction{
		ID: ids.Transaction(r.ID), Kind: marketplace.TransactionKind(r.Kind), OrgID: ids.Org(r.OrgID), Publisher: ids.Org(r.PublisherID),
		RunID: ids.Run(r.RunID), OrderID: ids.Order(r.OrderID), Of: ids.Transaction(r.OfID), AgentID: ids.Agent(r.AgentID), Agent: r.Agent,
		Reason: r.Reason, Month: marketplace.Month(r.Month), CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt.t,
	}
	if r.Costs.value != nil {
		for _, c := range *r.Costs.value {
			t.Costs = append(t.Costs, marketplace.CostLine{
				Kind: marketplace.LineKind(c.Kind), Event: c.Event, Quantity: c.Quantity, Amount: money.Of(c.Micros, c.Currency),
			})
		}
	}
	for _, l := range lines {
		t.Lines = append(t.Lines, marketplace.Line{
			Account: ids.Account(l.AccountID), Amount: money.Of(l.AmountMicros, l.Currency), Balance: money.Of(l.BalanceMicros, l.Currency),
		})
	}
	slices.SortFunc(t.Lines, lockOrder)
	return t
}

// withLines loads the lines of transactions.
func withLines(db *gorm.DB, rows []transactionRow) ([]marketplace.Transaction, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	list := make([]string, len(rows))
	for i, row := range rows {
		list[i] = row.ID
	}
	var lines []lineRow
	if err := db.Where("transaction_id IN ?", list).Find(&lines).Error; err != nil {
		return nil, err
	}
	of := make(map[string][]lineRow, len(rows))
	for _, l := range lines {
		of[l.TransactionID] = append(of[l.TransactionID], l)
	}
	transactions := make([]marketplace.Transaction, len(rows))
	for i, row := range rows {
		transactions[i] = transactionFromRow(row, of[row.ID])
	}
	return transactions, nil
}

// transactionEntry is a transaction in the audit log.
type transactionEntry struct {
	Kind         string `json:"kind"`
	AmountMicros int64  `json:"amount_micros"`
	Currency     string `json:"currency"`
	Of           string `json:"of,omitempty"`
	RunID        string `json:"run_id,omitempty"`
	OrderID      string `json:"order_id,omitempty"`
	Reason       string `json:"reason,omitempty"`
}

// entryOf tells how much a transaction moved: the sum of what accounts gained.
func entryOf(t marketplace.Transaction) transactionEntry {
	e := transactionEntry{
		Kind: string(t.Kind), Of: string(t.Of), RunID: string(t.RunID), OrderID: string(t.OrderID), Reason: printable(t.Reason),
	}
	for _, l := range t.Lines {
		e.AmountMicros += max(l.Amount.Micros, 0)
		e.Currency = l.Amount.Currency
	}
	return e
}
