package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var _ marketplace.EntitlementStore = (*Marketplace)(nil)

type entitlementRow struct {
	ID            string
	OrgID         string
	AgentID       string
	TeamID        string
	UserID        string
	Source        string
	OrderID       string
	GrantID       string
	PriceID       string
	Versions      string
	LimitMonth    int64
	LimitActive   int64
	LimitTotal    int64
	LimitIncluded int64
	UsedMonth     string
	UsedRuns      int64
	UsedSeconds   int64
	UsedTotal     int64
	UsedActive    int64
	CreatedAt     stamp
	ExpiresAt     stamp
	RevokedAt     stamp
	Renews        bool
}

func (entitlementRow) TableName() string { return "entitlements" }

// entitlementColumns are the columns of an entitlementRow, in its order, for
// statements in SQL text.
const entitlementColumns = `id, org_id, agent_id, team_id, user_id, source, order_id, grant_id, price_id, versions,
limit_month, limit_active, limit_total, limit_included,
used_month, used_runs, used_seconds, used_total, used_active,
created_at, expires_at, revoked_at, renews`

// values are the columns in the order of entitlementColumns.
func (r entitlementRow) values() []any {
	return []any{
		r.ID, r.OrgID, r.AgentID, r.TeamID, r.UserID, r.Source, r.OrderID, r.GrantID, r.PriceID, r.Versions,
		r.LimitMonth, r.LimitActive, r.LimitTotal, r.LimitIncluded,
		r.UsedMonth, r.UsedRuns, r.UsedSeconds, r.UsedTotal, r.UsedActive,
		r.CreatedAt, r.ExpiresAt, r.RevokedAt, r.Renews,
	}
}

func rowFromEntitlement(e marketplace.Entitlement) entitlementRow {
	return entitlementRow{
		ID: string(e.ID), OrgID: string(e.OrgID), AgentID: string(e.AgentID),
		TeamID: string(e.TeamID), UserID: string(e.UserID), Source: string(e.Source),
		OrderID: string(e.OrderID), GrantID: string(e.GrantID), PriceID: string(e.PriceID), Versions: e.Versions,
		LimitMonth: e.Limits.RunsPerMonth, LimitActive: e.Limits.Concurrent,
		LimitTotal: e.Limits.Runs, LimitIncluded: e.Limits.Included,
		UsedMonth: string(e.Usage.Month), UsedRuns: e.Usage.Runs, UsedSeconds: e.Usage.Seconds,
		UsedTotal: e.Usage.Total, UsedActive: e.Usage.Active,
		CreatedAt: at(e.CreatedAt), ExpiresAt: at(e.ExpiresAt), RevokedAt: at(e.RevokedAt), Renews: e.Renews,
	}
}

func entitlementFromRow(r entitlementRow) marketplace.Entitlement {
	return marketplace.Entitlement{
		ID: ids.Entitlement(r.ID), OrgID: ids.Org(r.OrgID), AgentID: ids.Agent(r.AgentID),
		TeamID: ids.Team(r.TeamID), UserID: ids.User(r.UserID), Source: marketplace.Source(r.Source),
		OrderID: ids.Order(r.OrderID), GrantID: ids.Grant(r.GrantID), PriceID: ids.Price(r.PriceID), Versions: r.Versions,
		Limits: marketplace.Limits{
			RunsPerMonth: r.LimitMonth, Concurrent: r.LimitActive, Runs: r.LimitTotal, Included: r.LimitIncluded,
		},
		Usage: marketplace.Usage{
			Month: marketplace.Month(r.UsedMonth), Runs: r.UsedRuns, Seconds: r.UsedSeconds,
			Total: r.UsedTotal, Active: r.UsedActive,
		},
		CreatedAt: r.CreatedAt.t, ExpiresAt: r.ExpiresAt.t, RevokedAt: r.RevokedAt.t, Renews: r.Renews,
	}
}

// entitlementEntry is an entitlement in the audit log: what somebody decided
// about it, not how much of it was used.
type entitlementEntry struct {
	AgentID      string    `json:"agent_id"`
	TeamID       string    `json:"team_id,omitempty"`
	UserID       string    `json:"user_id,omitempty"`
	Source       string    `json:"source"`
	OrderID      string    `json:"order_id,omitempty"`
	GrantID      string    `json:"grant_id,omitempty"`
	Versions     string    `json:"versions,omitempty"`
	RunsPerMonth int64     `json:"runs_per_month,omitempty"`
	Concurrent   int64     `json:"concurrent,omitempty"`
	Runs         int64     `json:"runs,omitempty"`
	Included     int64     `json:"included,omitempty"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	RevokedAt    time.Time `json:"revoked_at,omitzero"`
	Renews       bool      `json:"renews,omitempty"`
}

func (r entitlementRow) entry() entitlementEntry {
	return entitlementEntry{
		AgentID: r.AgentID, TeamID: r.TeamID, UserID: r.UserID, Source: r.Source, OrderID: r.OrderID, GrantID: r.GrantID,
		Versions: r.Versions, RunsPerMonth: r.LimitMonth, Concurrent: r.LimitActive, Runs: r.LimitTotal, Included: r.LimitIncluded,
		ExpiresAt: r.ExpiresAt.t, RevokedAt: r.RevokedAt.t, Renews: r.Renews,
	}
}

// insertEntitlementOnce leaves a right by ownership, by a free listing or by a
// trial alone that is there. On PostgreSQL a rival's insert that is not committed
// yet is waited for.
const insertEntitlementOnce = `
INSERT INTO entitlements (` + entitlementColumns + `)
VALUES ?
ON CONFLICT (org_id, agent_id, source) WHERE source IN ('ownership', 'free', 'trial') DO NOTHING`

// insertEntitlement stores a right, unless it is one that is had once and there
// already.
func insertEntitlement(tx *gorm.DB, e marketplace.Entitlement) (inserted bool, err error) {
	insert := tx.Exec(insertEntitlementOnce, rowFromEntitlement(e).values())
	return insert.RowsAffected > 0, insert.Error
}

// Entitle implements marketplace.EntitlementStore.
func (s *Marketplace) Entitle(ctx context.Context, by audit.Actor, e marketplace.Entitlement) error {
	doing := fmt.Sprintf("entitle organization %s to agent %s", e.OrgID, e.AgentID)
	return s.db.change(ctx, doing, func(tx *gorm.DB) error {
		inserted, err := insertEntitlement(tx, e)
		if err != nil || !inserted {
			return err
		}
		return writeAudit(tx, by, e.OrgID, "entitlement.create", string(e.ID), nil, rowFromEntitlement(e).entry(), e.CreatedAt)
	})
}

// Entitlements implements marketplace.EntitlementStore.
func (s *Marketplace) Entitlements(ctx context.Context, org ids.Org, before ids.Entitlement, limit int) ([]marketplace.Entitlement, error) {
	var rows []entitlementRow
	err := s.db.read.WithContext(ctx).Where("org_id = ? AND id < ?", org, lastOf(before)).
		Order("id DESC").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list entitlements of organization "+string(org))
	}
	list := make([]marketplace.Entitlement, len(rows))
	for i, row := range rows {
		list[i] = entitlementFromRow(row)
	}
	return list, nil
}

const selectEntitlement = `SELECT ` + entitlementColumns + ` FROM entitlements WHERE id = ? AND org_id = ?`

// UpdateEntitlement implements marketplace.EntitlementStore. Whose the right is,
// where it comes from and how much of it was used stay what they are.
func (s *Marketplace) UpdateEntitlement(ctx context.Context, by audit.Actor, org ids.Org, id ids.Entitlement, now time.Time,
	change func(*marketplace.Entitlement) error,
) (marketplace.Entitlement, error) {
	var updated marketplace.Entitlement
	err := s.db.change(ctx, "update entitlement "+string(id), func(tx *gorm.DB) error {
		var before entitlementRow
		err := tx.Raw(selectEntitlement+forUpdate[s.db.dialect], id, org).Take(&before).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return notFound("entitlement", string(id))
		}
		if err != nil {
			return err
		}
		e := entitlementFromRow(before)
		if err := change(&e); err != nil {
			return refuse(err)
		}
		after, changed := before, rowFromEntitlement(e)
		after.Versions, after.ExpiresAt, after.RevokedAt, after.Renews = changed.Versions, changed.ExpiresAt, changed.RevokedAt, changed.Renews
		after.LimitMonth, after.LimitActive = changed.LimitMonth, changed.LimitActive
		after.LimitTotal, after.LimitIncluded = changed.LimitTotal, changed.LimitIncluded
		updated = entitlementFromRow(after)
		if after == before {
			return nil
		}
		err = tx.Select("Versions", "ExpiresAt", "RevokedAt", "Renews", "LimitMonth", "LimitActive", "LimitTotal", "LimitIncluded").
			Updates(&after).Error
		if err != nil {
			return err
		}
		return writeAudit(tx, by, org, "entitlement.update", before.ID, before.entry(), after.entry(), now)
	})
	if err != nil {
		return marketplace.Entitlement{}, err
	}
	return updated, nil
}
