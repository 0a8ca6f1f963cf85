package store

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// selectTransaction loads a transaction to be locked: its row is never changed,
// so the lock makes those wait that refund it at the same time, and nobody else.
const selectTransaction = `SELECT ` + transactionColumns + ` FROM ledger_transactions WHERE id = ?`

// sumRefunds adds up what a wallet got back of a transaction.
const sumRefunds = `
SELECT CAST(COALESCE(SUM(l.amount_micros), 0) AS bigint)
FROM ledger_transactions AS t JOIN ledger_lines AS l ON l.transaction_id = t.id AND l.account_id = ?
WHERE t.of_id = ? AND t.of_id <> ''`

// Refund implements marketplace.LedgerStore. When the month that a subscription
// is in is given back whole, the subscription ends with it.
func (s *Marketplace) Refund(ctx context.Context, by audit.Actor, of ids.Transaction, key *marketplace.RequestKey,
	refund func(of marketplace.Transaction, refunded money.Amount) (marketplace.Transaction, error),
) (marketplace.Transaction, bool, error) {
	var posted marketplace.Transaction
	var first bool
	err := s.db.change(ctx, "refund transaction "+string(of), func(tx *gorm.DB) error {
		refunded, err := s.lockRefunded(tx, of)
		if err != nil {
			return err
		}
		org := requester(by, refunded.of.OrgID)
		before, err := takeRequestKey(tx, org, key, "", refunded.of.CreatedAt)
		if err != nil {
			return err
		}
		if first = before == ""; !first {
			posted, err = transactionIn(tx, ids.Transaction(before))
			return err
		}
		t, err := refund(refunded.of, refunded.amount)
		if err != nil {
			return refuse(err)
		}
		if err := refunded.check(t); err != nil {
			return err
		}
		if err := bindRequestKey(tx, org, key, string(t.ID), t.CreatedAt); err != nil {
			return err
		}
		if refunded.endsOrder(t) {
			if err := s.refundOrder(tx, by, refunded.of.OrgID, refunded.of.OrderID, t.CreatedAt); err != nil {
				return err
			}
		}
		posted, err = postFor(tx, by, t)
		return err
	})
	if err != nil {
		return marketplace.Transaction{}, false, err
	}
	return posted, first, nil
}

// refundedTransaction is a transaction with what was given back of it so far.
type refundedTransaction struct {
	of     marketplace.Transaction
	amount money.Amount
}

func (s *Marketplace) lockRefunded(tx *gorm.DB, id ids.Transaction) (refundedTransaction, error) {
	var row transactionRow
	err := tx.Raw(selectTransaction+forUpdate[s.db.dialect], id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return refundedTransaction{}, notFound("transaction", string(id))
	}
	if err != nil {
		return refundedTransaction{}, err
	}
	list, err := withLines(tx, []transactionRow{row})
	if err != nil {
		return refundedTransaction{}, err
	}
	r := refundedTransaction{of: list[0]}
	r.amount.Currency = r.of.Lines[0].Amount.Currency
	wallet := marketplace.AccountOf(marketplace.AccountWallet, r.of.OrgID)
	err = tx.Raw(sumRefunds, wallet, id).Scan(&r.amount.Micros).Error
	return r, err
}

// check makes sure of what the sum of refunds relies on.
func (r refundedTransaction) check(t marketplace.Transaction) error {
	if t.Kind != marketplace.TxRefund || t.Of != r.of.ID || t.OrgID != r.of.OrgID {
		return fmt.Errorf("refund transaction %s: %s is no refund of it", r.of.ID, t.ID)
	}
	return nil
}

// endsOrder tells whether a refund leaves nothing of what was paid for the month
// of a subscription that goes on.
func (r refundedTransaction) endsOrder(t marketplace.Transaction) bool {
	if r.of.Kind != marketplace.TxSubscription || r.of.OrderID == "" {
		return false
	}
	left := paidBy(r.of) - r.amount.Micros - walletGain(t)
	return left <= 0 && t.CreatedAt.Before(r.of.CreatedAt.AddDate(0, 1, 0))
}

// walletGain is what a transaction brings into the wallet that it is about;
// paidBy is what it takes out of it.
func walletGain(t marketplace.Transaction) (micros int64) {
	for _, l := range t.Lines {
		if l.Account == marketplace.AccountOf(marketplace.AccountWallet, t.OrgID) {
			micros += l.Amount.Micros
		}
	}
	return micros
}

func paidBy(t marketplace.Transaction) int64 { return -walletGain(t) }
