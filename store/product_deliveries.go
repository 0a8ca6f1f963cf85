package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var _ product.DeliveryStore = (*Product)(nil)

// deliveryRow is a delivery, and like that of a run its own outbox.
type deliveryRow struct {
	ID            string
	EndpointID    string
	OrgID         string
	RunID         string // empty: a test
	Event         string
	Payload       string
	Status        string
	CreatedAt     stamp
	EndedAt       stamp
	DispatchDueAt stamp
}

func (deliveryRow) TableName() string { return "webhook_deliveries" }

// deliveryColumns are the columns of deliveryRow for statements in SQL text.
const deliveryColumns = `id, endpoint_id, org_id, run_id, event, payload, status, created_at, ended_at, dispatch_due_at`

type tryRow struct {
	DeliveryID string `gorm:"primaryKey"`
	Number     int    `gorm:"primaryKey;autoIncrement:false"`
	At         stamp
	DurationNS int64 `gorm:"column:duration_ns"`
	StatusCode int
	Error      string
}

func (tryRow) TableName() string { return "webhook_tries" }

func rowFromDelivery(d product.Delivery) deliveryRow {
	return deliveryRow{
		ID: string(d.ID), EndpointID: string(d.EndpointID), OrgID: string(d.OrgID), RunID: string(d.RunID), Event: string(d.Event),
		Payload: string(d.Payload), Status: string(d.Status), CreatedAt: at(d.CreatedAt), EndedAt: at(d.EndedAt),
	}
}

func deliveryFromRow(r deliveryRow, tries []tryRow) product.Delivery {
	d := product.Delivery{
		ID: ids.Delivery(r.ID), EndpointID: ids.Endpoint(r.EndpointID), OrgID: ids.Org(r.OrgID), RunID: ids.Run(r.RunID),
		Event: product.WebhookEvent(r.Event), Payload: []byte(r.Payload), Status: product.DeliveryStatus(r.Status),
		CreatedAt: r.CreatedAt.t, EndedAt: r.EndedAt.t,
	}
	for _, t := range tries {
		d.Tries = append(d.Tries, product.DeliveryTry{
			Number: t.Number, At: t.At.t, Duration: time.Duration(t.DurationNS), StatusCode: t.StatusCode, Error: t.Error,
		})
	}
	return d
}

func deliveriesFromRows(rows []deliveryRow) []product.Delivery {
	deliveries := make([]product.Delivery, len(rows))
	for i, row := range rows {
		deliveries[i] = deliveryFromRow(row, nil)
	}
	return deliveries
}

// crowded is whether as many deliveries to the endpoint e are pending as may be. It
// reads no more of them than that.
const crowded = `EXISTS (
    SELECT 1 FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.status = 'pending' LIMIT 1 OFFSET ?
)`

// endpointsOfRun finds who may be told of a run: the endpoints of its organization
// and its own.
const endpointsOfRun = `
SELECT e.id, e.events, ` + crowded + ` AS crowded FROM webhook_endpoints e
WHERE e.org_id = ? AND e.run_id IN ('', ?) AND NOT e.disabled`

// storeDeliveries stores the messages that follow from a change of a run, in the
// transaction that makes it. Most changes have none, and most organizations no
// endpoint. A message that is one too many has failed at once: the run does not
// wait for it, and the log of the endpoint tells of it.
func storeDeliveries(tx *gorm.DB, before product.Status, r product.Run) error {
	event, happened := product.WebhookEventOf(before, r)
	if event == "" {
		return nil
	}
	var endpoints []struct {
		Endpoint endpointRow `gorm:"embedded"`
		Crowded  bool
	}
	if err := tx.Raw(endpointsOfRun, product.MaxPendingDeliveries-1, r.OrgID, r.ID).Scan(&endpoints).Error; err != nil {
		return err
	}
	var rows []deliveryRow
	for _, to := range endpoints {
		if !endpointFromRow(to.Endpoint).Wants(event) {
			continue
		}
		row := rowFromDelivery(product.NewDelivery(
			product.Endpoint{ID: ids.Endpoint(to.Endpoint.ID), OrgID: r.OrgID}, r.ID, event, product.RunPayload(event, r, happened), happened))
		row.DispatchDueAt = row.CreatedAt
		if to.Crowded {
			row.Status, row.EndedAt, row.DispatchDueAt = string(product.DeliveryFailed), row.CreatedAt, stamp{}
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	return tx.Create(&rows).Error
}

const crowdedEndpoint = `SELECT ` + crowded + ` FROM webhook_endpoints e WHERE e.id = ?`

// CreateDelivery implements product.DeliveryStore.
func (s *Product) CreateDelivery(ctx context.Context, d product.Delivery) error {
	return s.db.change(ctx, "create delivery "+string(d.ID), func(tx *gorm.DB) error {
		var full bool
		if err := tx.Raw(crowdedEndpoint, product.MaxPendingDeliveries-1, d.EndpointID).Scan(&full).Error; err != nil {
			return err
		}
		if full {
			return fault.Newf(fault.RateLimited, "too_many_deliveries",
				"%d messages to the webhook are on their way; try again when some have ended", product.MaxPendingDeliveries)
		}
		row := rowFromDelivery(d)
		row.DispatchDueAt = row.CreatedAt
		return tx.Create(&row).Error
	})
}

// Delivery implements product.DeliveryStore. The delivery is read before its
// tries: it may be older than they are.
func (s *Product) Delivery(ctx context.Context, id ids.Delivery) (product.Delivery, error) {
	db := s.db.read.WithContext(ctx)
	var row deliveryRow
	if err := db.Where("id = ?", id).Take(&row).Error; err != nil {
		return product.Delivery{}, s.db.lookup(err, "delivery", string(id))
	}
	var tries []tryRow
	if err := db.Where("delivery_id = ?", id).Order("number").Find(&tries).Error; err != nil {
		return product.Delivery{}, s.db.interpret(err, "load delivery "+row.ID)
	}
	return deliveryFromRow(row, tries), nil
}

// Deliveries implements product.DeliveryStore.
func (s *Product) Deliveries(ctx context.Context, endpoint ids.Endpoint, before ids.Delivery, limit int) ([]product.Delivery, error) {
	query := s.db.read.WithContext(ctx).Where("endpoint_id = ?", endpoint)
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var rows []deliveryRow
	if err := query.Order("id DESC").Limit(atMost(limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list deliveries of webhook "+string(endpoint))
	}
	return deliveriesFromRows(rows), nil
}

// lockDelivery lets one writer change a delivery at a time.
const lockDelivery = `SELECT ` + deliveryColumns + ` FROM webhook_deliveries WHERE id = ?`

// endDelivery ends a delivery for good. Nobody has to start what has ended.
const endDelivery = `
UPDATE webhook_deliveries SET status = ?, ended_at = ?, dispatch_due_at = NULL
WHERE id = ? AND status = 'pending'`

// RecordTry implements product.DeliveryStore. The same try again changes nothing.
func (s *Product) RecordTry(ctx context.Context, id ids.Delivery, t product.DeliveryTry, status product.DeliveryStatus) error {
	return s.db.change(ctx, "record a try of delivery "+string(id), func(tx *gorm.DB) error {
		var row deliveryRow
		err := tx.Raw(lockDelivery+forUpdate[s.db.dialect], id).Take(&row).Error
		switch {
		case errors.Is(err, gorm.ErrRecordNotFound):
			return notFound("delivery", string(id))
		case err != nil:
			return err
		case row.Status != string(product.DeliveryPending):
			return nil
		}
		if t.Number > 0 {
			if err := tx.Exec(insertTry, id, t.Number, at(t.At), t.Duration, t.StatusCode, printable(t.Error)).Error; err != nil {
				return err
			}
		}
		if status == product.DeliveryPending {
			return nil
		}
		return tx.Exec(endDelivery, status, at(t.At), id).Error
	})
}

const insertTry = `
INSERT INTO webhook_tries (delivery_id, number, at, duration_ns, status_code, error)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (delivery_id, number) DO NOTHING`

// claimDeliveries takes due deliveries as claimDispatch does runs.
var claimDeliveries = map[dialect]string{
	postgresDialect: `
WITH due AS MATERIALIZED (
    SELECT id AS due_id FROM webhook_deliveries WHERE dispatch_due_at <= ?
    ORDER BY dispatch_due_at LIMIT ? FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries SET dispatch_due_at = ? FROM due WHERE webhook_deliveries.id = due.due_id
RETURNING ` + deliveryColumns,
	sqliteDialect: `
WITH due AS (
    SELECT id AS due_id FROM webhook_deliveries WHERE dispatch_due_at <= ?
    ORDER BY dispatch_due_at LIMIT ?
)
UPDATE webhook_deliveries SET dispatch_due_at = ? WHERE id IN (SELECT due_id FROM due)
RETURNING ` + deliveryColumns,
}

// DueDeliveries implements product.DeliveryStore, without tries, oldest first.
func (s *Product) DueDeliveries(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]product.Delivery, error) {
	if limit <= 0 {
		return nil, nil
	}
	var rows []deliveryRow
	err := s.db.change(ctx, "claim deliveries for dispatch", func(tx *gorm.DB) error {
		rows = nil
		return tx.Raw(claimDeliveries[s.db.dialect], at(now), limit, at(now.Add(lease))).Scan(&rows).Error
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b deliveryRow) int { return cmp.Compare(a.ID, b.ID) })
	return deliveriesFromRows(rows), nil
}

// deliveryDispatched leaves what has ended meanwhile: nobody has to miss it.
const deliveryDispatched = `UPDATE webhook_deliveries SET dispatch_due_at = ? WHERE id = ? AND status = 'pending'`

// DeliveryDispatched implements product.DeliveryStore.
func (s *Product) DeliveryDispatched(ctx context.Context, id ids.Delivery, again time.Time) error {
	err := s.db.write.WithContext(ctx).Exec(deliveryDispatched, at(again), id).Error
	return s.db.interpret(err, "mark delivery "+string(id)+" as dispatched")
}

// deliveriesBefore finds deliveries that have ended, by the time in their
// identifier. What a rival removes is left to it.
var deliveriesBefore = map[dialect]string{
	postgresDialect: selectDeliveriesBefore + ` FOR UPDATE SKIP LOCKED`,
	sqliteDialect:   selectDeliveriesBefore,
}

const (
	selectDeliveriesBefore = `SELECT id FROM webhook_deliveries WHERE id < ? AND status <> 'pending' ORDER BY id LIMIT ?`
	deleteTries            = `DELETE FROM webhook_tries WHERE delivery_id IN ?`
	deleteDeliveries       = `DELETE FROM webhook_deliveries WHERE id IN ?`
)

// RemoveDeliveries implements product.DeliveryStore.
func (s *Product) RemoveDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	var old []string
	err := s.db.change(ctx, "remove old deliveries", func(tx *gorm.DB) error {
		old = nil
		err := tx.Raw(deliveriesBefore[s.db.dialect], ids.Earliest[ids.Delivery](ids.PrefixDelivery, before), limit).Scan(&old).Error
		if err != nil || len(old) == 0 {
			return err
		}
		return errors.Join(tx.Exec(deleteTries, old).Error, tx.Exec(deleteDeliveries, old).Error)
	})
	return len(old), err
}
