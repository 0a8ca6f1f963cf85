package store

import (
	"context"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

// selectRunTransactions names the kinds so that the index of what happens once to
// a run serves it.
const selectRunTransactions = `
SELECT ` + transactionColumns + ` FROM ledger_transactions
WHERE run_id = ? AND run_id <> '' AND kind IN ('hold', 'charge', 'release')
ORDER BY id`

// selectRefunds finds what was refunded of a transaction.
const selectRefunds = `
SELECT ` + transactionColumns + ` FROM ledger_transactions
WHERE of_id = ? AND of_id <> ''
ORDER BY id`

// TransactionsOfRun implements marketplace.LedgerStore.
func (s *Marketplace) TransactionsOfRun(ctx context.Context, run ids.Run) ([]marketplace.Transaction, error) {
	db := s.db.read.WithContext(ctx)
	rows, err := runTransactionRows(db, run)
	var list []marketplace.Transaction
	if err == nil {
		list, err = withLines(db, rows)
	}
	return list, s.db.interpret(err, "list transactions of run "+string(run))
}

func runTransactionRows(db *gorm.DB, run ids.Run) (rows []transactionRow, err error) {
	if err := db.Raw(selectRunTransactions, run).Scan(&rows).Error; err != nil {
		return nil, err
	}
	for _, row := range rows {
		if marketplace.TransactionKind(row.Kind) != marketplace.TxCharge {
			continue
		}
		var refunds []transactionRow
		if err := db.Raw(selectRefunds, row.ID).Scan(&refunds).Error; err != nil {
			return nil, err
		}
		return append(rows, refunds...), nil
	}
	return rows, nil
}
