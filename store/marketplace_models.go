package store

import (
	"context"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// modelCallRow is a call of a model. Until it is settled it has its reservation only.
type modelCallRow struct {
	RunID          string `gorm:"primaryKey"`
	Key            string `gorm:"primaryKey"`
	Attempt        int
	Model          string
	Currency       string
	ReservedMicros int64
	CostMicros     int64
	InputTokens    int64
	OutputTokens   int64
	Partial        bool
	CreatedAt      stamp
	ExpiresAt      stamp
	SettledAt      stamp
}

func (modelCallRow) TableName() string { return "model_calls" }

const sumSpent = `
SELECT CAST(COALESCE(SUM(micros), 0) AS bigint) FROM (
    SELECT amount_micros AS micros FROM run_charges WHERE run_id = @run
    UNION ALL
    SELECT CASE WHEN settled_at IS NULL THEN reserved_micros ELSE cost_micros END FROM model_calls WHERE run_id = @run
) AS spent`

// spentBy is what events cost so far, and what models cost or have reserved.
func spentBy(tx *gorm.DB, h marketplace.Hold) (money.Amount, error) {
	spent := money.Of(0, h.Amount.Currency)
	err := tx.Raw(sumSpent, map[string]any{"run": h.RunID}).Scan(&spent.Micros).Error
	return spent, err
}

// ReserveModel implements marketplace.Settlements.
func (s *Marketplace) ReserveModel(ctx context.Context, r marketplace.ModelReservation) (money.Amount, error) {
	var room money.Amount
	err := s.db.change(ctx, "reserve a model call of run "+string(r.Run), func(tx *gorm.DB) error {
		hold, goesOn, err := s.lockSession(tx, r.Run, r.Attempt)
		if err == nil {
			err = goesOn
		}
		if err != nil {
			return err
		}
		var calls int64
		if err := tx.Model(&modelCallRow{}).Where("run_id = ?", r.Run).Count(&calls).Error; err != nil {
			return err
		}
		if calls >= marketplace.MaxModelCalls {
			return fault.Newf(fault.RateLimited, "too_many_model_calls", "a run has at most %d calls of models", marketplace.MaxModelCalls)
		}
		spent, err := spentBy(tx, hold)
		if err != nil {
			return err
		}
		if room, err = hold.Reserve(r, spent); err != nil {
			return err
		}
		return tx.Create(&modelCallRow{
			RunID: string(r.Run), Key: r.Key, Attempt: r.Attempt, Model: r.Model, Currency: room.Currency,
			ReservedMicros: room.Micros, CreatedAt: at(r.At), ExpiresAt: at(r.Expires),
		}).Error
	})
	if err != nil {
		return money.Amount{}, err
	}
	return room, nil
}

// settleModel changes a call that is not settled, of a run that is not either: what it
// reserved was billed then.
const settleModel = `
UPDATE model_calls SET settled_at = @at, cost_micros = CASE WHEN @cost < reserved_micros THEN @cost ELSE reserved_micros END,
    input_tokens = @input, output_tokens = @output, partial = @partial
WHERE run_id = @run AND key = @key AND settled_at IS NULL`

// SettleModel implements marketplace.Settlements.
func (s *Marketplace) SettleModel(ctx context.Context, run ids.Run, key string, u marketplace.ModelUsage) error {
	return s.db.change(ctx, "settle a model call of run "+string(run), func(tx *gorm.DB) error {
		hold, err := s.lockHold(tx, run)
		if err != nil || !hold.SettledAt.IsZero() {
			return err
		}
		return tx.Exec(settleModel, map[string]any{
			"run": run, "key": key, "at": at(u.At), "cost": max(0, u.Cost.Micros),
			"input": u.InputTokens, "output": u.OutputTokens, "partial": u.Partial,
		}).Error
	})
}

const selectModelCosts = `
SELECT model, CAST(SUM(input_tokens + output_tokens) AS bigint) AS tokens,
    CAST(SUM(CASE WHEN settled_at IS NULL THEN reserved_micros ELSE cost_micros END) AS bigint) AS micros
FROM model_calls WHERE run_id = ? GROUP BY model ORDER BY model`

// usedBy is what a run used beside its time. Calls of models that nobody settled count
// as what they reserved: what became of them is not known.
func usedBy(tx *gorm.DB, h marketplace.Hold) (marketplace.Used, error) {
	var used marketplace.Used
	var err error
	if used.Events, err = chargesOf(tx, h.RunID); err != nil {
		return marketplace.Used{}, err
	}
	var rows []struct {
		Model          string
		Tokens, Micros int64
	}
	if err := tx.Raw(selectModelCosts, h.RunID).Scan(&rows).Error; err != nil {
		return marketplace.Used{}, err
	}
	for _, row := range rows {
		used.Models = append(used.Models, marketplace.ModelCost{
			Model: row.Model, Tokens: row.Tokens, Amount: money.Of(row.Micros, h.Amount.Currency),
		})
	}
	return used, nil
}
