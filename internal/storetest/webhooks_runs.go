package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// ownEndpointTests are about the endpoints of single runs.
var ownEndpointTests = []testCase{
	{"the endpoint of a run is found by its run", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		w.endpoint(t)
		run := w.queued(start)
		run.Webhook = new(endpoint(t, w.org.ID))
		w.create(t, run)
		got, err := s.Control.RunEndpoint(t.Context(), w.org.ID, run.ID)
		require.NoError(t, err)
		want, err := s.Control.Endpoint(t.Context(), run.Webhook.ID)
		require.NoError(t, err)
		requireSame(t, want, got)
		other := newWorldOf(t, s, "stranger")
		plain := w.create(t, w.queued(start))
		for _, none := range []struct {
			org ids.Org
			run ids.Run
		}{{other.org.ID, run.ID}, {w.org.ID, plain.ID}, {w.org.ID, ""}} {
			_, err = s.Control.RunEndpoint(t.Context(), none.org, none.run)
			requireFault(t, err, fault.NotFound, "webhook_not_found")
		}
	}},
	{"an endpoint of a run is removed when its run ended long ago and its messages are gone", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		now := time.Now() // identifiers have the time of their making
		kept := w.endpoint(t)
		own := func(ended time.Time) product.Endpoint {
			run := w.queued(start)
			run.Webhook = new(endpoint(t, w.org.ID, func(e *product.Endpoint) { e.Events = []product.WebhookEvent{product.WebhookRunWaitingApproval} }))
			w.create(t, run)
			if !ended.IsZero() {
				w.settle(t, run.ID, product.ReasonCanceled, ended)
			}
			return *run.Webhook
		}
		first, second, third := own(now), own(now), own(now)
		told, goesOn, late := own(now), own(time.Time{}), own(now.Add(2*time.Hour))
		message := w.deliver(t, told)
		remove := func(before time.Time, limit int) int {
			n, err := s.Control.RemoveRunEndpoints(t.Context(), before, limit)
			require.NoError(t, err)
			return n
		}
		requireEndpoints := func(gone, there []product.Endpoint) {
			t.Helper()
			for _, e := range gone {
				_, err := s.Control.Endpoint(t.Context(), e.ID)
				requireFault(t, err, fault.NotFound, "webhook_not_found")
			}
			for _, e := range there {
				_, err := s.Control.Endpoint(t.Context(), e.ID)
				require.NoError(t, err)
			}
		}
		later := now.Add(time.Hour)
		require.Zero(t, remove(now.Add(-time.Hour), 10), "none is as old")
		require.Equal(t, 2, remove(later, 2))
		requireEndpoints([]product.Endpoint{first, second}, []product.Endpoint{third, told, goesOn, late, kept})
		require.Equal(t, 1, remove(later, 2))
		require.Zero(t, remove(later, 2))
		requireEndpoints([]product.Endpoint{third}, []product.Endpoint{told, goesOn, late, kept})

		require.NoError(t, s.Control.RecordTry(t.Context(), message.ID, product.DeliveryTry{Number: 1, At: start}, product.DeliveryFailed))
		require.Zero(t, remove(later, 2), "the message is still there")
		_, err := s.Control.RemoveDeliveries(t.Context(), later, 10)
		require.NoError(t, err)
		require.Equal(t, 1, remove(later, 2))
		requireEndpoints([]product.Endpoint{told}, []product.Endpoint{goesOn, late, kept})
	}},
	{"of many that remove endpoints each one is removed by one", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		const endpoints = 12
		for range endpoints {
			run := w.queued(start)
			run.Webhook = new(endpoint(t, w.org.ID, func(e *product.Endpoint) { e.Disabled = true }))
			w.create(t, run)
			w.settle(t, run.ID, product.ReasonCanceled, start)
		}
		counts, errs := make([]int, 4), make([]error, 4)
		together(len(counts), func(i int) {
			for n := 1; n > 0 && errs[i] == nil; counts[i] += n {
				n, errs[i] = s.Control.RemoveRunEndpoints(t.Context(), time.Now().Add(time.Hour), 2)
			}
		})
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, endpoints, counts[0]+counts[1]+counts[2]+counts[3])
	}},
}
