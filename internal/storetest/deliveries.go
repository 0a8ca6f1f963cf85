package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// deliver stores a test message to an endpoint.
func (w world) deliver(t *testing.T, e product.Endpoint) product.Delivery {
	t.Helper()
	d := product.NewDelivery(e, "", product.WebhookTest, product.TestPayload(e.ID, start), start)
	require.NoError(t, w.Control.CreateDelivery(t.Context(), d))
	d.CreatedAt = stored(d.CreatedAt)
	return d
}

func (w world) delivery(t *testing.T, id ids.Delivery) product.Delivery {
	t.Helper()
	d, err := w.Control.Delivery(t.Context(), id)
	require.NoError(t, err)
	return d
}

func (w world) requireDelivery(t *testing.T, want product.Delivery) {
	t.Helper()
	requireSame(t, want, w.delivery(t, want.ID))
}

func (w world) dueDeliveries(t *testing.T, now time.Time) []product.Delivery {
	t.Helper()
	due, err := w.Control.DueDeliveries(t.Context(), now, lease, 100)
	require.NoError(t, err)
	return due
}

func (w world) claimDeliveries(t *testing.T, now time.Time) []ids.Delivery {
	t.Helper()
	return deliveryIDs(w.dueDeliveries(t, now))
}

func deliveryIDs(deliveries []product.Delivery) []ids.Delivery {
	var list []ids.Delivery
	for _, d := range deliveries {
		list = append(list, d.ID)
	}
	return list
}

var deliveryTests = []testCase{
	{"a delivery comes back with its tries", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		d := w.deliver(t, w.endpoint(t))
		w.requireDelivery(t, d)
		tries := []product.DeliveryTry{
			{Number: 1, At: after(time.Second), Duration: 15 * time.Second, Error: "no answer\x00"},
			{Number: 2, At: after(time.Minute), Duration: 1234567 * time.Nanosecond, StatusCode: 503},
			{Number: 4, At: after(time.Hour), Duration: time.Millisecond, StatusCode: 204},
		}
		record := func(try product.DeliveryTry, status product.DeliveryStatus) {
			t.Helper()
			require.NoError(t, s.Control.RecordTry(t.Context(), d.ID, try, status))
		}
		record(tries[0], product.DeliveryPending)
		record(tries[0], product.DeliveryPending) // told twice
		record(tries[1], product.DeliveryPending)
		record(tries[2], product.DeliveryDelivered)
		record(product.DeliveryTry{Number: 5, At: after(2 * time.Hour), StatusCode: 500}, product.DeliveryPending)
		record(product.DeliveryTry{At: after(2 * time.Hour)}, product.DeliveryFailed)

		d.Status, d.EndedAt = product.DeliveryDelivered, stored(after(time.Hour))
		for i := range tries {
			tries[i].At = stored(tries[i].At)
		}
		tries[0].Error = "no answer\uFFFD"
		d.Tries = tries
		w.requireDelivery(t, d)
		_, err := s.Control.Delivery(t.Context(), "msg_none")
		requireFault(t, err, fault.NotFound, "delivery_not_found")
		err = s.Control.RecordTry(t.Context(), "msg_none", tries[0], product.DeliveryPending)
		requireFault(t, err, fault.NotFound, "delivery_not_found")
	}},
	{"a delivery fails without another try", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		d := w.deliver(t, w.endpoint(t))
		require.NoError(t, s.Control.RecordTry(t.Context(), d.ID, product.DeliveryTry{At: after(24 * time.Hour)}, product.DeliveryFailed))
		d.Status, d.EndedAt = product.DeliveryFailed, stored(after(24*time.Hour))
		w.requireDelivery(t, d)
		require.Empty(t, w.claimDeliveries(t, after(48*time.Hour)))
	}},
	{"what ended long ago is removed, oldest first", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		e := w.endpoint(t)
		var made []product.Delivery
		for range 4 {
			made = append(made, w.deliver(t, e))
		}
		for _, d := range made[:3] { // the last one is on its way
			require.NoError(t, s.Control.RecordTry(t.Context(), d.ID, product.DeliveryTry{Number: 1, At: start}, product.DeliveryDelivered))
		}
		remove := func(before time.Time, limit int) int {
			n, err := s.Control.RemoveDeliveries(t.Context(), before, limit)
			require.NoError(t, err)
			return n
		}
		require.Zero(t, remove(time.Now().Add(-time.Hour), 10), "none is as old")
		later := time.Now().Add(time.Hour) // identifiers have the time of their making
		require.Equal(t, 2, remove(later, 2))
		left, err := s.Control.Deliveries(t.Context(), e.ID, "", 10)
		require.NoError(t, err)
		require.Equal(t, []ids.Delivery{made[3].ID, made[2].ID}, deliveryIDs(left))
		require.Equal(t, 1, remove(later, 2))
		require.Zero(t, remove(later, 2))
		require.Equal(t, product.DeliveryPending, w.delivery(t, made[3].ID).Status)
	}},
	{"deliveries to an endpoint, newest first", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		e := w.endpoint(t)
		w.deliver(t, w.endpoint(t))
		var want []product.Delivery
		for range 3 {
			want = append([]product.Delivery{w.deliver(t, e)}, want...)
		}
		list := func(before ids.Delivery, limit int) []product.Delivery {
			got, err := s.Control.Deliveries(t.Context(), e.ID, before, limit)
			require.NoError(t, err)
			return got
		}
		requireSame(t, want, list("", 10))
		requireSame(t, want[:2], list("", 2))
		requireSame(t, want[2:], list(want[1].ID, 2))
	}},
	{"a delivery is due at once, then after each lease, and much later when it was told of", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		first := w.deliver(t, w.endpoint(t))
		second := w.deliver(t, w.endpoint(t))
		require.Empty(t, w.claimDeliveries(t, after(-time.Second)))
		due, err := s.Control.DueDeliveries(t.Context(), start, lease, 1)
		require.NoError(t, err)
		require.Len(t, due, 1)
		none, err := s.Control.DueDeliveries(t.Context(), start, lease, 0)
		require.NoError(t, err)
		require.Empty(t, none)
		require.Len(t, w.claimDeliveries(t, start), 1, "the other one")
		require.Empty(t, w.claimDeliveries(t, after(lease-time.Second)))
		again := after(25 * time.Hour)
		require.NoError(t, s.Control.DeliveryDispatched(t.Context(), first.ID, again))
		require.NoError(t, s.Control.DeliveryDispatched(t.Context(), first.ID, again), "a second time is harmless")
		require.Equal(t, []ids.Delivery{second.ID}, w.claimDeliveries(t, after(lease)))
		require.NoError(t, s.Control.DeliveryDispatched(t.Context(), second.ID, again))
		require.Empty(t, w.claimDeliveries(t, again.Add(-time.Second)))
		require.NoError(t, s.Control.RecordTry(t.Context(), second.ID, product.DeliveryTry{Number: 1, At: start}, product.DeliveryDelivered))
		require.Equal(t, []ids.Delivery{first.ID}, w.claimDeliveries(t, again), "it has not ended")
	}},
	{"what has ended is not due, however late it was told of", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		d := w.deliver(t, w.endpoint(t))
		require.Len(t, w.dueDeliveries(t, start), 1)
		require.NoError(t, s.Control.RecordTry(t.Context(), d.ID, product.DeliveryTry{Number: 1, At: start}, product.DeliveryDelivered))
		require.NoError(t, s.Control.DeliveryDispatched(t.Context(), d.ID, after(25*time.Hour)))
		require.Empty(t, w.claimDeliveries(t, after(48*time.Hour)))
	}},
	{"an endpoint has so many pending deliveries, and no more", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		crowded, beside := w.endpoint(t), w.endpoint(t)
		first := w.deliver(t, crowded)
		for range product.MaxPendingDeliveries - 2 {
			w.deliver(t, crowded)
		}
		settle := func() map[ids.Endpoint]product.Delivery {
			run := w.create(t, w.queued(start))
			w.settle(t, run.ID, product.ReasonOK, after(time.Minute))
			told := map[ids.Endpoint]product.Delivery{}
			for _, e := range []product.Endpoint{crowded, beside} {
				last, err := s.Control.Deliveries(t.Context(), e.ID, "", 1)
				require.NoError(t, err)
				require.Equal(t, run.ID, last[0].RunID)
				told[e.ID] = last[0]
			}
			return told
		}
		require.Equal(t, product.DeliveryPending, settle()[crowded.ID].Status, "the last that fits")

		more := product.NewDelivery(crowded, "", product.WebhookTest, []byte("{}"), start)
		requireFault(t, s.Control.CreateDelivery(t.Context(), more), fault.RateLimited, "too_many_deliveries")
		_, err := s.Control.Delivery(t.Context(), more.ID)
		requireFault(t, err, fault.NotFound, "delivery_not_found")
		told := settle()
		require.Equal(t, product.DeliveryFailed, told[crowded.ID].Status)
		require.Equal(t, stored(after(time.Minute)), told[crowded.ID].EndedAt)
		require.Equal(t, product.DeliveryPending, told[beside.ID].Status, "the other endpoint has nothing to do with it")
		due, err := s.Control.DueDeliveries(t.Context(), after(time.Hour), lease, 2*product.MaxPendingDeliveries)
		require.NoError(t, err)
		require.Len(t, due, product.MaxPendingDeliveries+2, "nobody starts what has failed")

		require.NoError(t, s.Control.RecordTry(t.Context(), first.ID, product.DeliveryTry{Number: 1, At: start}, product.DeliveryDelivered))
		require.NoError(t, s.Control.CreateDelivery(t.Context(), more), "one has ended")
	}},
	{"rivals never claim the same delivery", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		e := w.endpoint(t)
		const deliveries = 30
		for range deliveries {
			w.deliver(t, e)
		}
		var mu sync.Mutex
		claims := map[ids.Delivery]int{}
		var failures []error
		together(8, func(int) {
			for {
				got, err := s.Control.DueDeliveries(t.Context(), start, lease, 3)
				mu.Lock()
				for _, d := range got {
					claims[d.ID]++
				}
				if err != nil {
					failures = append(failures, err)
				}
				done := len(claims) == deliveries
				mu.Unlock()
				if err != nil || len(got) == 0 && done {
					return
				}
			}
		})
		require.Empty(t, failures)
		require.Len(t, claims, deliveries)
		for id, n := range claims {
			require.Equal(t, 1, n, "claims of %s", id)
		}
	}},
}
