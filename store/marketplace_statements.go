package store

import (
	"context"
	"database/sql"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// balanceAt is what an account had when a month was over: the balance of its
// last line up to then. The months of an account follow the numbers of its lines.
const balanceAt = `
SELECT balance_micros FROM ledger_lines
WHERE account_id = @account AND month = (
    SELECT MAX(month) FROM ledger_lines WHERE account_id = @account AND month <= @month
)
ORDER BY seq DESC LIMIT 1`

// sumMonth groups what the accounts of an organization gained in a month. What
// transactions of a kind only move between them adds up to nothing, and is left
// out; all others of one kind gain, or all lose.
const sumMonth = `
SELECT t.kind, t.agent, COUNT(DISTINCT t.id) AS count, CAST(SUM(l.amount_micros) AS bigint) AS amount
FROM ledger_lines AS l JOIN ledger_transactions AS t ON t.id = l.transaction_id
WHERE l.account_id IN @accounts AND l.month = @month
GROUP BY t.kind, t.agent HAVING SUM(l.amount_micros) <> 0
ORDER BY t.kind, t.agent`

// snapshot makes the statements of a transaction see one moment. A transaction
// of SQLite always does.
var snapshot = map[dialect]*sql.TxOptions{
	postgresDialect: {Isolation: sql.LevelRepeatableRead, ReadOnly: true},
	sqliteDialect:   nil,
}

// Statement implements marketplace.LedgerStore.
func (s *Marketplace) Statement(ctx context.Context, org ids.Org, month marketplace.Month, currency string) (marketplace.Statement, error) {
	from, _, ok := month.Bounds()
	if !ok {
		return marketplace.Statement{}, fault.New(fault.Invalid, "month_invalid", "a month is YYYY-MM").
			WithFields(fault.Field{Pointer: "month", Message: "must be YYYY-MM"})
	}
	before := marketplace.MonthOf(from.AddDate(0, -1, 0))
	st := marketplace.Statement{OrgID: org, Month: month, Currency: currency}
	err := s.db.read.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		used, err := accountsIn(tx, org, currency)
		if err != nil {
			return err
		}
		wallet, held, earnings := used[marketplace.AccountWallet], used[marketplace.AccountHeld], used[marketplace.AccountEarnings]
		if st.Opening, st.Closing, st.Lines, err = sumAccounts(tx, before, month, currency, wallet, held); err != nil {
			return err
		}
		if st.Held, err = balanceIn(tx, month, currency, held); err != nil {
			return err
		}
		st.EarningsOpening, st.EarningsClosing, st.Earnings, err = sumAccounts(tx, before, month, currency, earnings)
		return err
	}, snapshot[s.db.dialect])
	if err != nil {
		return marketplace.Statement{}, s.db.interpret(err, "sum up "+string(month)+" of organization "+string(org))
	}
	return st, nil
}

// accountsIn are the accounts of an organization that have a currency.
func accountsIn(tx *gorm.DB, org ids.Org, currency string) (map[marketplace.AccountKind]ids.Account, error) {
	var rows []accountRow
	all := accountsOf(org, marketplace.AccountWallet, marketplace.AccountHeld, marketplace.AccountEarnings)
	if err := tx.Where("id IN ?", all).Find(&rows).Error; err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, notFound("organization", string(org))
	}
	used := map[marketplace.AccountKind]ids.Account{}
	for _, row := range rows {
		if row.Currency == currency {
			used[marketplace.AccountKind(row.Kind)] = ids.Account(row.ID)
		}
	}
	return used, nil
}

// sumAccounts sums up accounts that count as one.
func sumAccounts(tx *gorm.DB, before, month marketplace.Month, currency string, accounts ...ids.Account,
) (opening, closing money.Amount, lines []marketplace.StatementLine, err error) {
	opening = money.Of(0, currency)
	for _, account := range accounts {
		balance, err := balanceIn(tx, before, currency, account)
		if err != nil {
			return opening, closing, nil, err
		}
		opening.Micros += balance.Micros
	}
	var rows []struct {
		Kind   string
		Agent  string
		Count  int64
		Amount int64
	}
	values := map[string]any{"accounts": accounts, "month": month}
	if err := tx.Raw(sumMonth, values).Scan(&rows).Error; err != nil {
		return opening, closing, nil, err
	}
	closing = opening
	for _, row := range rows {
		closing.Micros += row.Amount
		lines = append(lines, marketplace.StatementLine{
			Kind: marketplace.TransactionKind(row.Kind), Agent: row.Agent, Count: row.Count, Amount: money.Of(row.Amount, currency),
		})
	}
	return opening, closing, lines, nil
}

// balanceIn is what an account had at the end of a month, or has in it. An
// account without a name has nothing.
func balanceIn(tx *gorm.DB, month marketplace.Month, currency string, account ids.Account) (money.Amount, error) {
	balance := money.Of(0, currency)
	values := map[string]any{"account": account, "month": month}
	err := tx.Raw(balanceAt, values).Scan(&balance.Micros).Error
	return balance, err
}
