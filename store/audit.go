package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

type auditRow struct {
	ID        string
	OrgID     string
	ActorKind string
	ActorID   string
	ActorOrg  string
	RequestID string
	Action    string
	Subject   string
	Before    *string
	After     *string
	At        stamp
}

func (auditRow) TableName() string { return "audit_entries" }

// writeAudit records a change in the transaction that makes it. before and after
// are shapes of this package with JSON tags and without secrets; nil where there
// was or is nothing.
func writeAudit(tx *gorm.DB, by audit.Actor, org ids.Org, action, subject string, before, after any, when time.Time) error {
	row := auditRow{
		ID: string(ids.New[ids.Audit](ids.PrefixAudit)), OrgID: string(org),
		ActorKind: string(by.Kind), ActorID: by.ID, ActorOrg: string(by.Org), RequestID: by.RequestID,
		Action: action, Subject: subject, At: at(when),
	}
	for _, side := range []struct {
		value any
		into  **string
	}{{before, &row.Before}, {after, &row.After}} {
		if side.value == nil {
			continue
		}
		text, err := json.Marshal(side.value)
		if err != nil {
			return fmt.Errorf("encode audit entry of %s: %w", subject, err)
		}
		*side.into = new(string(text))
	}
	return tx.Create(&row).Error
}

func entryFromRow(r auditRow) audit.Entry {
	bytesOf := func(text *string) []byte {
		if text == nil {
			return nil
		}
		return []byte(*text)
	}
	return audit.Entry{
		ID: ids.Audit(r.ID), Org: ids.Org(r.OrgID),
		Actor:  audit.Actor{Kind: audit.Kind(r.ActorKind), ID: r.ActorID, Org: ids.Org(r.ActorOrg), RequestID: r.RequestID},
		Action: r.Action, Subject: r.Subject, Before: bytesOf(r.Before), After: bytesOf(r.After), At: r.At.t,
	}
}

var _ marketplace.AuditStore = (*Marketplace)(nil)

// Audit implements marketplace.AuditStore.
func (s *Marketplace) Audit(ctx context.Context, org ids.Org, q audit.Query) ([]audit.Entry, error) {
	query := s.db.read.WithContext(ctx).Where("org_id = ?", org)
	if q.Action != "" {
		query = query.Where("action = ?", q.Action)
	}
	if q.Subject != "" {
		query = query.Where("subject = ?", q.Subject)
	}
	if q.Actor != "" {
		query = query.Where("actor_id = ?", q.Actor)
	}
	if !q.After.IsZero() {
		query = query.Where("at > ?", at(q.After))
	}
	if !q.Until.IsZero() {
		query = query.Where("at < ?", at(q.Until))
	}
	if q.Before != "" {
		query = query.Where("id < ?", q.Before)
	}
	var rows []auditRow
	if err := query.Order("id DESC").Limit(atMost(q.Limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list audit log of organization "+string(org))
	}
	entries := make([]audit.Entry, len(rows))
	for i, row := range rows {
		entries[i] = entryFromRow(row)
	}
	return entries, nil
}
