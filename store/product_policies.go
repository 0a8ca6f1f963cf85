package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/product"
)

const policyColumns = `org_id, kind, id, document, updated_by, updated_at`

const selectPolicy = `SELECT ` + policyColumns + ` FROM policies WHERE org_id = ? AND kind = ? AND id = ?`

// upsertPolicy is safe against a rival that stores the same policy first.
const upsertPolicy = `
INSERT INTO policies (` + policyColumns + `) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (org_id, kind, id) DO UPDATE SET document = excluded.document,
    updated_by = excluded.updated_by, updated_at = excluded.updated_at`

// SetPolicy implements product.PolicyStore.
func (s *Product) SetPolicy(ctx context.Context, by audit.Actor, p product.Policy) error {
	row := rowFromPolicy(p)
	return s.db.change(ctx, "set "+row.subject(), func(tx *gorm.DB) error {
		var was any
		before, err := s.lockPolicy(tx, p.Scope)
		switch {
		case err == nil:
			was = before.Document.value
		case !errors.Is(err, gorm.ErrRecordNotFound):
			return err
		}
		err = tx.Exec(upsertPolicy, row.OrgID, row.Kind, row.ID, row.Document, row.UpdatedBy, row.UpdatedAt).Error
		if err != nil {
			return err
		}
		return writeAudit(tx, by, p.Scope.OrgID, "policy.set", row.subject(), was, row.Document.value, p.UpdatedAt)
	})
}

func (s *Product) lockPolicy(tx *gorm.DB, scope product.PolicyScope) (row policyRow, err error) {
	err = tx.Raw(selectPolicy+forUpdate[s.db.dialect], scope.OrgID, scope.Kind, scope.ID).Take(&row).Error
	return row, err
}

// DeletePolicy implements product.PolicyStore.
func (s *Product) DeletePolicy(ctx context.Context, by audit.Actor, scope product.PolicyScope, when time.Time) error {
	return s.db.change(ctx, "delete policy of the "+string(scope.Kind), func(tx *gorm.DB) error {
		row, err := s.lockPolicy(tx, scope)
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return noPolicy(scope)
		}
		if err != nil {
			return err
		}
		if err := tx.Delete(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, scope.OrgID, "policy.delete", row.subject(), row.Document.value, nil, when)
	})
}

func noPolicy(scope product.PolicyScope) error {
	return notFound("policy", "of the "+string(scope.Kind))
}

// Policy implements product.PolicyStore.
func (s *Product) Policy(ctx context.Context, scope product.PolicyScope) (product.Policy, error) {
	var row policyRow
	err := s.db.read.WithContext(ctx).Raw(selectPolicy, scope.OrgID, scope.Kind, scope.ID).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return product.Policy{}, noPolicy(scope)
	}
	if err != nil {
		return product.Policy{}, s.db.interpret(err, "load policy of the "+string(scope.Kind))
	}
	return policyFromRow(row)
}

// policyOrder is that of PoliciesFor.
const policyOrder = `CASE kind WHEN 'platform' THEN 0 WHEN 'organization' THEN 1 WHEN 'team' THEN 2 ELSE 3 END, id`

// Policies implements product.PolicyStore. The order is organization, teams,
// agents.
func (s *Product) Policies(ctx context.Context, org ids.Org) ([]product.Policy, error) {
	var rows []policyRow
	if err := s.db.read.WithContext(ctx).Where("org_id = ?", org).Order(policyOrder).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list policies of organization "+string(org))
	}
	return policiesFromRows(rows)
}

// selectPolicies takes up to four rows by their keys. There is no policy of the
// team without a name.
const selectPolicies = `
SELECT ` + policyColumns + ` FROM policies
WHERE (org_id = '' AND kind = 'platform' AND id = '') OR (org_id = ? AND kind = 'organization' AND id = '')
   OR (org_id = ? AND kind = 'team' AND id = ?) OR (org_id = ? AND kind = 'agent' AND id = ?)
ORDER BY ` + policyOrder

// PoliciesFor implements product.PolicyStore.
func (s *Product) PoliciesFor(ctx context.Context, org ids.Org, team ids.Team, agent ids.Agent) ([]product.Policy, error) {
	var rows []policyRow
	if err := s.db.read.WithContext(ctx).Raw(selectPolicies, org, org, team, org, agent).Scan(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "load the policies of a run of organization "+string(org))
	}
	return policiesFromRows(rows)
}
