package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// Accounts implements marketplace.LedgerStore.
func (s *Marketplace) Accounts(ctx context.Context, org ids.Org) ([]marketplace.Account, error) {
	kinds := []marketplace.AccountKind{marketplace.AccountWallet, marketplace.AccountHeld, marketplace.AccountEarnings}
	var rows []accountRow
	if err := s.db.read.WithContext(ctx).Where("id IN ?", accountsOf(org, kinds...)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list accounts of organization "+string(org))
	}
	if len(rows) == 0 {
		return nil, notFound("organization", string(org))
	}
	accounts := make([]marketplace.Account, len(rows))
	for i, row := range rows {
		accounts[i] = accountFromRow(row)
	}
	slices.SortFunc(accounts, func(a, b marketplace.Account) int {
		return cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind))
	})
	return accounts, nil
}

func accountsOf(org ids.Org, kinds ...marketplace.AccountKind) []ids.Account {
	accounts := make([]ids.Account, len(kinds))
	for i, kind := range kinds {
		accounts[i] = marketplace.AccountOf(kind, org)
	}
	return accounts
}

// creditEntry is the credit of a wallet in the audit log.
type creditEntry struct {
	CreditMicros int64  `json:"credit_micros"`
	Currency     string `json:"currency"`
}

const selectAccount = `
SELECT id, kind, org_id, balance_micros, credit_micros, currency, last_seq, last_month FROM accounts WHERE id = ?`

// SetCredit implements marketplace.LedgerStore. A wallet that nothing was moved
// on yet gets the currency of its credit.
func (s *Marketplace) SetCredit(ctx context.Context, by audit.Actor, org ids.Org, credit money.Amount, when time.Time) (marketplace.Account, error) {
	var account marketplace.Account
	err := s.db.change(ctx, "set credit of organization "+string(org), func(tx *gorm.DB) error {
		var row accountRow
		wallet := marketplace.AccountOf(marketplace.AccountWallet, org)
		err := tx.Raw(selectAccount+forUpdate[s.db.dialect], wallet).Take(&row).Error
		switch {
		case errors.Is(err, gorm.ErrRecordNotFound):
			return notFound("organization", string(org))
		case err != nil:
			return err
		case row.Currency != "" && row.Currency != credit.Currency:
			return errCurrency(row.Currency, credit.Currency)
		case row.BalanceMicros < -credit.Micros:
			return fault.Newf(fault.Conflict, "credit_in_use", "the wallet has %s already", money.Of(row.BalanceMicros, credit.Currency))
		}
		before := creditEntry{row.CreditMicros, row.Currency}
		row.CreditMicros, row.Currency = credit.Micros, credit.Currency
		account = accountFromRow(row)
		if after := (creditEntry{row.CreditMicros, row.Currency}); after != before {
			if err := tx.Select("CreditMicros", "Currency").Updates(&row).Error; err != nil {
				return err
			}
			return writeAudit(tx, by, org, "wallet.set_credit", row.ID, before, after, when)
		}
		return nil
	})
	if err != nil {
		return marketplace.Account{}, err
	}
	return account, nil
}

// The actions of transactions that somebody makes. Those of the platform (holds,
// charges, months of subscriptions) are accounted for by the ledger itself.
var transactionActions = map[marketplace.TransactionKind]string{
	marketplace.TxCredit: "wallet.credit",
	marketplace.TxPayout: "earnings.payout",
	marketplace.TxRefund: "charge.refund",
}

// Post implements marketplace.LedgerStore.
func (s *Marketplace) Post(ctx context.Context, by audit.Actor, t marketplace.Transaction, key *marketplace.RequestKey) (marketplace.Transaction, bool, error) {
	var posted marketplace.Transaction
	var first bool
	err := s.db.change(ctx, "post transaction "+string(t.ID), func(tx *gorm.DB) error {
		before, err := takeRequestKey(tx, requester(by, t.OrgID), key, string(t.ID), t.CreatedAt)
		if err != nil {
			return err
		}
		if first = before == ""; !first {
			posted, err = transactionIn(tx, ids.Transaction(before))
			return err
		}
		posted, err = postFor(tx, by, t)
		return err
	})
	if err != nil {
		return marketplace.Transaction{}, false, err
	}
	return posted, first, nil
}

// postFor posts a transaction that somebody makes, with its entry in the audit
// logs of those whose money it is.
func postFor(tx *gorm.DB, by audit.Actor, t marketplace.Transaction) (marketplace.Transaction, error) {
	action, known := transactionActions[t.Kind]
	if !known {
		return marketplace.Transaction{}, errors.New("post transaction " + string(t.ID) + ": nobody makes a " + string(t.Kind))
	}
	t.CreatedBy = cmp.Or(t.CreatedBy, by.ID)
	entry := entryOf(t)
	if err := writeAudit(tx, by, t.OrgID, action, string(t.ID), nil, entry, t.CreatedAt); err != nil {
		return marketplace.Transaction{}, err
	}
	if t.Publisher != "" && t.Publisher != t.OrgID {
		entry.RunID, entry.OrderID = "", "" // a publisher does not learn which run of which buyer it was
		if err := writeAudit(tx, by, t.Publisher, action, string(t.ID), nil, entry, t.CreatedAt); err != nil {
			return marketplace.Transaction{}, err
		}
	}
	return postTransaction(tx, t)
}

// requester is the organization whose request keys an actor uses: its own, so
// that no key of one is ever taken for a key of another. The system has none;
// there it is the organization that the change is about.
func requester(by audit.Actor, about ids.Org) ids.Org { return cmp.Or(by.Org, about) }

// bindRequestKey tells a key that was taken without an object which one the
// transaction stored for it.
func bindRequestKey(tx *gorm.DB, org ids.Org, key *marketplace.RequestKey, object string, now time.Time) error {
	if key == nil {
		return nil
	}
	return tx.Model(&requestKeyRow{}).Where("org_id = ? AND key = ?", org, key.Key).
		Updates(map[string]any{"object_id": object, "created_at": at(now)}).Error
}

// Transaction implements marketplace.LedgerStore.
func (s *Marketplace) Transaction(ctx context.Context, id ids.Transaction) (marketplace.Transaction, error) {
	t, err := transactionIn(s.db.read.WithContext(ctx), id)
	return t, s.db.interpret(err, "load transaction "+string(id))
}

func transactionIn(db *gorm.DB, id ids.Transaction) (marketplace.Transaction, error) {
	var row transactionRow
	err := db.Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return marketplace.Transaction{}, notFound("transaction", string(id))
	}
	if err != nil {
		return marketplace.Transaction{}, err
	}
	list, err := withLines(db, []transactionRow{row})
	if err != nil {
		return marketplace.Transaction{}, err
	}
	return list[0], nil
}

// Transactions implements marketplace.LedgerStore.
func (s *Marketplace) Transactions(ctx context.Context, account ids.Account, before ids.Transaction, limit int) ([]marketplace.Transaction, error) {
	db := s.db.read.WithContext(ctx)
	page := db.Model(&lineRow{}).Where("account_id = ?", account)
	if before != "" {
		page = page.Where("transaction_id < ?", before)
	}
	var list []string
	var rows []transactionRow
	err := page.Order("transaction_id DESC").Limit(atMost(limit)).Pluck("transaction_id", &list).Error
	if err == nil {
		err = db.Where("id IN ?", list).Find(&rows).Error
	}
	var transactions []marketplace.Transaction
	if err == nil {
		transactions, err = withLines(db, rows)
	}
	if err != nil {
		return nil, s.db.interpret(err, "list transactions of account "+string(account))
	}
	slices.SortFunc(transactions, func(a, b marketplace.Transaction) int { return cmp.Compare(b.ID, a.ID) })
	return transactions, nil
}
