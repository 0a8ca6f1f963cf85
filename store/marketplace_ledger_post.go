package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// CodeCurrencyMismatch is the code of an amount in another currency than the
// account has had so far.
const CodeCurrencyMismatch = "currency_mismatch"

// lockOrder is the order in which every transaction touches accounts, so that no
// two wait for each other: those of the buyer, those of the publisher, and last,
// for the shortest time, those that all share.
func lockOrder(a, b marketplace.Line) int {
	return cmp.Or(cmp.Compare(lockRank(a.Account), lockRank(b.Account)), cmp.Compare(a.Account, b.Account))
}

func lockRank(account ids.Account) int {
	kind, _, _ := strings.Cut(string(account), ":")
	return slices.Index([]marketplace.AccountKind{
		marketplace.AccountHeld, marketplace.AccountWallet, marketplace.AccountEarnings,
		marketplace.AccountExternal, marketplace.AccountFees,
	}, marketplace.AccountKind(kind))
}

// postTransaction stores a transaction and moves its money. A wallet that would
// go below its limit, or earnings below zero by a payout, is
// fault.PaymentRequired, insufficient_funds; a currency that an account does not
// have is fault.Invalid, currency_mismatch. Either leaves a transaction behind
// that must be undone.
//
// It is the last that a database transaction does: the accounts of the platform
// stay locked until its end. What comes late for a month that is over on one of
// the accounts is of the month that it is there, so that no statement changes
// any more; the result says so.
func postTransaction(tx *gorm.DB, t marketplace.Transaction) (marketplace.Transaction, error) {
	if err := balanced(t); err != nil {
		return marketplace.Transaction{}, err
	}
	t.Lines = slices.Clone(t.Lines)
	slices.SortFunc(t.Lines, lockOrder)
	lines := make([]lineRow, len(t.Lines))
	behind := false
	for i, l := range t.Lines {
		moved, err := moveMoney(tx, t, l)
		if err != nil {
			return marketplace.Transaction{}, err
		}
		month := marketplace.Month(moved.LastMonth)
		behind = behind || i > 0 && month != t.Month
		t.Month = month
		t.Lines[i].Balance = money.Of(moved.BalanceMicros, l.Amount.Currency)
		lines[i] = lineRow{
			AccountID: string(l.Account), TransactionID: string(t.ID), AmountMicros: l.Amount.Micros,
			BalanceMicros: moved.BalanceMicros, Currency: l.Amount.Currency, Seq: moved.LastSeq,
		}
	}
	for i := range lines {
		lines[i].Month = string(t.Month)
	}
	if behind {
		if err := catchUp(tx, lines); err != nil {
			return marketplace.Transaction{}, err
		}
	}
	row := rowFromTransaction(t)
	if err := tx.Create(&row).Error; err != nil {
		return marketplace.Transaction{}, err
	}
	if err := tx.Create(&lines).Error; err != nil {
		return marketplace.Transaction{}, err
	}
	return transactionFromRow(row, lines), nil
}

// balanced is the last look at what must never be stored otherwise.
func balanced(t marketplace.Transaction) error {
	var sum money.Amount
	for _, l := range t.Lines {
		var err error
		if sum, err = money.Add(sum, l.Amount); err != nil {
			return fmt.Errorf("post transaction %s: %w", t.ID, err)
		}
	}
	if len(t.Lines) < 2 || !sum.IsZero() {
		return fmt.Errorf("post transaction %s: %d lines with a sum of %s", t.ID, len(t.Lines), sum)
	}
	return nil
}

// moveMoney changes the balance of one account, where that is allowed, and locks
// it until the end of the transaction.
func moveMoney(tx *gorm.DB, t marketplace.Transaction, l marketplace.Line) (accountRow, error) {
	var moved accountRow
	update := tx.Raw(moveBalance, l.Amount.Micros, l.Amount.Currency, t.Month, t.Month,
		l.Account, l.Amount.Currency, mayOverdraw(t, l), l.Amount.Micros).Scan(&moved)
	if update.Error != nil || update.RowsAffected > 0 {
		return moved, update.Error
	}
	var account accountRow
	err := tx.Where("id = ?", l.Account).Take(&account).Error
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return accountRow{}, notFound("account", string(l.Account))
	case err != nil:
		return accountRow{}, err
	case account.Currency != "" && account.Currency != l.Amount.Currency:
		return accountRow{}, errCurrency(account.Currency, l.Amount.Currency)
	}
	return accountRow{}, fault.Newf(fault.PaymentRequired, marketplace.CodeInsufficientFunds,
		"%s are needed, which is more than is available", l.Amount.Negative())
}

func errCurrency(has, asked string) error {
	return fault.Newf(fault.Invalid, CodeCurrencyMismatch, "the account is in %s, the amount in %s", has, asked)
}

// moveBalance is one conditional statement: of many at once that find enough
// money, those pass that still find it when their turn has come.
const moveBalance = `
UPDATE accounts
SET balance_micros = balance_micros + ?, currency = ?, last_seq = last_seq + 1,
    last_month = CASE WHEN last_month < ? THEN ? ELSE last_month END
WHERE id = ? AND currency IN ('', ?)
    AND (? OR balance_micros + ? >= CASE kind WHEN 'wallet' THEN -credit_micros ELSE 0 END)
RETURNING balance_micros, last_seq, last_month`

// mayOverdraw tells whether a line is carried out whatever its account has: one
// that gains, those of the platform, and earnings that an operator takes back.
func mayOverdraw(t marketplace.Transaction, l marketplace.Line) bool {
	switch {
	case l.Amount.Micros > 0, lockRank(l.Account) > lockRank(ids.Account(marketplace.AccountEarnings)):
		return true
	default:
		return t.Kind == marketplace.TxRefund && t.Overdraw && lockRank(l.Account) == lockRank(ids.Account(marketplace.AccountEarnings))
	}
}

// catchUp brings the accounts of lines to their month: those that were moved
// before another one turned out to be in a later month.
func catchUp(tx *gorm.DB, lines []lineRow) error {
	accounts := make([]string, len(lines))
	for i, l := range lines {
		accounts[i] = l.AccountID
	}
	return tx.Model(&accountRow{}).Where("id IN ? AND last_month < ?", accounts, lines[0].Month).
		Update("last_month", lines[0].Month).Error
}
