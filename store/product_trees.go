package store

import (
	"cmp"
	"errors"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

// A tree is a run with those that it started, and theirs. They share the budget of
// the root: what those that go on may cost and the others did.

// The codes of runs that cannot be part of a tree.
const (
	CodeTreeTooDeep  = "tree_too_deep"
	CodeTreeTooLarge = "tree_too_large"
	CodeTreeBudget   = "tree_budget_reached"
)

// lockParent keeps a parent from ending while its child is stored: who ends it
// later finds the child.
var lockParent = map[dialect]string{
	postgresDialect: `SELECT ` + runColumns + ` FROM runs WHERE id = ? FOR SHARE`,
	sqliteDialect:   `SELECT ` + runColumns + ` FROM runs WHERE id = ?`,
}

const (
	// plantTree makes the tree of a root with its first child.
	plantTree = `
INSERT INTO run_trees (root_id, runs, budget_micros, currency, held_micros)
SELECT @root, 0, @budget, @currency, COALESCE((
    SELECT CASE WHEN settled_at IS NULL THEN amount_micros ELSE charged_micros END FROM holds WHERE run_id = @root), 0)
WHERE true
ON CONFLICT (root_id) DO NOTHING`
	growTree = `UPDATE run_trees SET runs = runs + 1 WHERE root_id = @root AND runs < @most`
	holdTree = `
UPDATE run_trees SET held_micros = held_micros + @amount
WHERE root_id = @root AND (budget_micros IS NULL OR currency = @currency AND held_micros + @amount <= budget_micros)`
	addToTree = `UPDATE run_trees SET held_micros = held_micros + @change WHERE root_id = @root`
)

// joinTree puts a run that another one starts below it, and fills in where it
// stands. A run without a parent stays as it is.
func (db *DB) joinTree(tx *gorm.DB, r *product.Run) error {
	if r.Origin.ParentID == "" {
		return nil
	}
	var row runRow
	err := tx.Raw(lockParent[db.dialect], r.Origin.ParentID).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) || err == nil && row.OrgID != string(r.OrgID) {
		return fault.Newf(fault.NotFound, "parent_not_found", "there is no run %s that could start another one", r.Origin.ParentID)
	}
	if err != nil {
		return err
	}
	switch status := product.Status(row.Status); {
	case status.Terminal() || status == product.StatusCanceling:
		return fault.Newf(fault.Conflict, "run_ended", "the run that starts this one has ended or is being canceled: %s", status)
	case status == product.StatusQueued || status == product.StatusWaitingApproval:
		// It holds nothing yet, and may never begin: children would spend its budget.
		return fault.Newf(fault.Conflict, "run_not_started", "the run that starts this one has not begun: %s", status)
	}
	r.Origin.RootID, r.Origin.Depth = ids.Run(cmp.Or(row.RootID, row.ID)), row.Depth+1
	if r.Origin.Depth > product.MaxTreeDepth {
		return fault.Newf(fault.Conflict, CodeTreeTooDeep, "a run may have at most %d runs above it", product.MaxTreeDepth)
	}
	if err := plant(tx, r.Origin.RootID); err != nil {
		return err
	}
	grown := tx.Exec(growTree, map[string]any{"root": r.Origin.RootID, "most": product.MaxTreeRuns})
	if grown.Error == nil && grown.RowsAffected == 0 {
		return fault.Newf(fault.Conflict, CodeTreeTooLarge, "a run and those below it may start at most %d runs", product.MaxTreeRuns)
	}
	return grown.Error
}

func plant(tx *gorm.DB, root ids.Run) error {
	var row runRow
	if err := tx.Select("id", "request").Where("id = ?", root).Take(&row).Error; err != nil {
		return err
	}
	values := map[string]any{"root": root, "budget": nil, "currency": ""}
	if row.Request.value != nil && row.Request.value.MaxCost.Currency != "" {
		values["budget"], values["currency"] = row.Request.value.MaxCost.Micros, row.Request.value.MaxCost.Currency
	}
	return tx.Exec(plantTree, values).Error
}

// holdInTree counts what a run may cost against the budget of its tree. The root
// itself fits: it may not cost more than the budget.
func holdInTree(tx *gorm.DB, run product.Run, amount money.Amount) error {
	if run.Origin.RootID == "" {
		return addInTree(tx, run.ID, amount.Micros)
	}
	held := tx.Exec(holdTree, map[string]any{"root": run.Origin.RootID, "amount": amount.Micros, "currency": amount.Currency})
	if held.Error == nil && held.RowsAffected == 0 {
		return refuse(fault.New(fault.PaymentRequired, CodeTreeBudget, "the budget of the run that started this one does not pay for it"))
	}
	return held.Error
}

// settleInTree gives back what a run did not cost.
func settleInTree(tx *gorm.DB, run product.Run, held, cost money.Amount) error {
	return addInTree(tx, cmp.Or(run.Origin.RootID, run.ID), cost.Micros-held.Micros)
}

// addInTree changes what a tree holds; a run that never started another one has no
// tree.
func addInTree(tx *gorm.DB, root ids.Run, micros int64) error {
	if micros == 0 {
		return nil
	}
	return tx.Exec(addToTree, map[string]any{"root": root, "change": micros}).Error
}
