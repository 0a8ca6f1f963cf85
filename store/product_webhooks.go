package store

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.WebhookStore = (*Product)(nil)

// endpointRow is an endpoint. Its secret is stored as it is: signing needs it.
type endpointRow struct {
	ID          string
	OrgID       string
	RunID       string // empty: of the organization
	URL         string
	Secret      string
	Events      document[[]product.WebhookEvent]
	Description string
	Disabled    bool
	CreatedAt   stamp
	UpdatedAt   stamp
}

func (endpointRow) TableName() string { return "webhook_endpoints" }

func rowFromEndpoint(e product.Endpoint) endpointRow {
	return endpointRow{
		ID: string(e.ID), OrgID: string(e.OrgID), RunID: string(e.RunID), URL: e.URL, Secret: e.Secret.Reveal(),
		Events: documentOf(append([]product.WebhookEvent{}, e.Events...)), Description: e.Description, Disabled: e.Disabled,
		CreatedAt: at(e.CreatedAt), UpdatedAt: at(e.UpdatedAt),
	}
}

func endpointFromRow(r endpointRow) product.Endpoint {
	e := product.Endpoint{
		ID: ids.Endpoint(r.ID), OrgID: ids.Org(r.OrgID), RunID: ids.Run(r.RunID), URL: r.URL, Secret: product.WebhookSecret(r.Secret),
		Description: r.Description, Disabled: r.Disabled, CreatedAt: r.CreatedAt.t, UpdatedAt: r.UpdatedAt.t,
	}
	if r.Events.value != nil && len(*r.Events.value) > 0 {
		e.Events = *r.Events.value
	}
	return e
}

// endpointEntry is an endpoint in the audit log. Of its address only the host: in
// many of them the path is the credential.
type endpointEntry struct {
	Host        string                 `json:"host"`
	Events      []product.WebhookEvent `json:"events"`
	Description string                 `json:"description,omitempty"`
	Disabled    bool                   `json:"disabled,omitempty"`
}

func (r endpointRow) entry() endpointEntry {
	entry := endpointEntry{Events: *r.Events.value, Description: r.Description, Disabled: r.Disabled}
	if u, err := url.Parse(r.URL); err == nil {
		entry.Host = u.Host
	}
	return entry
}

// CreateEndpoint implements product.WebhookStore.
func (s *Product) CreateEndpoint(ctx context.Context, by audit.Actor, e product.Endpoint) error {
	return s.db.change(ctx, "create webhook "+string(e.ID), func(tx *gorm.DB) error {
		if err := s.db.Marketplace().lockOrg(tx, e.OrgID); err != nil {
			return err
		}
		if e.RunID == "" {
			var endpoints int64
			if err := tx.Model(&endpointRow{}).Where("org_id = ? AND run_id = ''", e.OrgID).Count(&endpoints).Error; err != nil {
				return err
			}
			if endpoints >= product.MaxEndpoints {
				return fault.Newf(fault.Conflict, "too_many_endpoints",
					"the organization has %d webhooks, and may not have more", product.MaxEndpoints)
			}
		}
		row := rowFromEndpoint(e)
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, e.OrgID, "webhook.create", row.ID, nil, row.entry(), e.CreatedAt)
	})
}

// createRunEndpoint stores the endpoint that came with the start of a run. The
// request to start it is what the audit log would tell.
func createRunEndpoint(tx *gorm.DB, r product.Run) error {
	if r.Webhook == nil {
		return nil
	}
	e := *r.Webhook
	e.OrgID, e.RunID = r.OrgID, r.ID
	row := rowFromEndpoint(e)
	return tx.Create(&row).Error
}

// Endpoint implements product.WebhookStore.
func (s *Product) Endpoint(ctx context.Context, id ids.Endpoint) (product.Endpoint, error) {
	var row endpointRow
	if err := s.db.read.WithContext(ctx).Where("id = ?", id).Take(&row).Error; err != nil {
		return product.Endpoint{}, s.db.lookup(err, "webhook", string(id))
	}
	return endpointFromRow(row), nil
}

// RunEndpoint implements product.WebhookStore.
func (s *Product) RunEndpoint(ctx context.Context, org ids.Org, run ids.Run) (product.Endpoint, error) {
	var row endpointRow
	if err := s.db.read.WithContext(ctx).Where("org_id = ? AND run_id = ? AND run_id <> ''", org, run).Take(&row).Error; err != nil {
		return product.Endpoint{}, s.db.lookup(err, "webhook", "of run "+string(run))
	}
	return endpointFromRow(row), nil
}

// Endpoints implements product.WebhookStore, newest first.
func (s *Product) Endpoints(ctx context.Context, org ids.Org) ([]product.Endpoint, error) {
	var rows []endpointRow
	err := s.db.read.WithContext(ctx).Where("org_id = ? AND run_id = ''", org).Order("id DESC").Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list webhooks of organization "+string(org))
	}
	endpoints := make([]product.Endpoint, len(rows))
	for i, row := range rows {
		endpoints[i] = endpointFromRow(row)
	}
	return endpoints, nil
}

// lockEndpoint lets one writer change an endpoint at a time.
const lockEndpoint = `
SELECT id, org_id, run_id, url, secret, events, description, disabled, created_at, updated_at
FROM webhook_endpoints WHERE id = ? AND org_id = ?`

func (s *Product) endpointIn(tx *gorm.DB, org ids.Org, id ids.Endpoint) (endpointRow, error) {
	var row endpointRow
	err := tx.Raw(lockEndpoint+forUpdate[s.db.dialect], id, org).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, notFound("webhook", string(id))
	}
	return row, err
}

// UpdateEndpoint implements product.WebhookStore. What does not change is not
// written. Deliveries that are open go on with what the endpoint is then.
func (s *Product) UpdateEndpoint(ctx context.Context, by audit.Actor, org ids.Org, id ids.Endpoint,
	change func(*product.Endpoint) error,
) (product.Endpoint, error) {
	var after endpointRow
	err := s.db.change(ctx, "update webhook "+string(id), func(tx *gorm.DB) error {
		before, err := s.endpointIn(tx, org, id)
		if err != nil {
			return err
		}
		e := endpointFromRow(before)
		if err := change(&e); err != nil {
			return refuse(err)
		}
		after = rowFromEndpoint(e)
		// What no change may touch.
		after.ID, after.OrgID, after.RunID, after.CreatedAt = before.ID, before.OrgID, before.RunID, before.CreatedAt
		same := after
		same.UpdatedAt = before.UpdatedAt
		if reflect.DeepEqual(before, same) {
			after = before
			return nil
		}
		if err := tx.Select("URL", "Secret", "Events", "Description", "Disabled", "UpdatedAt").Updates(&after).Error; err != nil {
			return err
		}
		action := "webhook.update"
		if before.Secret != after.Secret {
			action = "webhook.rotate_secret"
		}
		return writeAudit(tx, by, org, action, after.ID, before.entry(), after.entry(), e.UpdatedAt)
	})
	if err != nil {
		return product.Endpoint{}, err
	}
	return endpointFromRow(after), nil
}

// failDeliveries ends what is open to an endpoint. Who sends it finds out before
// the next try.
const failDeliveries = `
UPDATE webhook_deliveries SET status = 'failed', ended_at = ?, dispatch_due_at = NULL
WHERE endpoint_id = ? AND status = 'pending'`

// DeleteEndpoint implements product.WebhookStore. A run that ends at the same
// moment may still store a delivery to it, which fails when it is sent.
func (s *Product) DeleteEndpoint(ctx context.Context, by audit.Actor, org ids.Org, id ids.Endpoint, now time.Time) error {
	return s.db.change(ctx, "delete webhook "+string(id), func(tx *gorm.DB) error {
		before, err := s.endpointIn(tx, org, id)
		if err != nil {
			return err
		}
		if err := tx.Delete(&before).Error; err != nil {
			return err
		}
		if err := tx.Exec(failDeliveries, at(now), id).Error; err != nil {
			return err
		}
		return writeAudit(tx, by, org, "webhook.delete", before.ID, before.entry(), nil, now)
	})
}

// runEndpointsBefore finds endpoints of runs that ended before a time, by the time
// in their identifier first: none is younger than the end of its run. What a rival
// removes is left to it.
var runEndpointsBefore = map[dialect]string{
	postgresDialect: selectRunEndpointsBefore + ` FOR UPDATE OF e SKIP LOCKED`,
	sqliteDialect:   selectRunEndpointsBefore,
}

const (
	selectRunEndpointsBefore = `
SELECT e.id FROM webhook_endpoints e JOIN runs r ON r.id = e.run_id
WHERE e.id < ? AND e.run_id <> '' AND r.finished_at < ?
  AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.endpoint_id = e.id)
ORDER BY e.id LIMIT ?`
	deleteEndpoints = `DELETE FROM webhook_endpoints WHERE id IN ?`
)

// RemoveRunEndpoints implements product.WebhookStore. Nobody asked for it: the audit
// log does not tell of it.
func (s *Product) RemoveRunEndpoints(ctx context.Context, before time.Time, limit int) (int, error) {
	var old []string
	err := s.db.change(ctx, "remove old webhooks of runs", func(tx *gorm.DB) error {
		old = nil
		youngest := ids.Earliest[ids.Endpoint](ids.PrefixEndpoint, before)
		err := tx.Raw(runEndpointsBefore[s.db.dialect], youngest, at(before), limit).Scan(&old).Error
		if err != nil || len(old) == 0 {
			return err
		}
		return tx.Exec(deleteEndpoints, old).Error
	})
	return len(old), err
}
