package storetest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// endpoint is one that is not stored yet.
func endpoint(t *testing.T, org ids.Org, change ...func(*product.Endpoint)) product.Endpoint {
	t.Helper()
	e, err := product.NewEndpoint(org, "https://hooks.example.com/path-secret?token=query-secret", "", false, start)
	require.NoError(t, err)
	for _, c := range change {
		c(&e)
	}
	return e
}

// storedEndpoint is an endpoint as it comes back.
func storedEndpoint(e product.Endpoint) product.Endpoint {
	e.CreatedAt, e.UpdatedAt = stored(e.CreatedAt), stored(e.UpdatedAt)
	return e
}

func (w world) endpoint(t *testing.T, change ...func(*product.Endpoint)) product.Endpoint {
	t.Helper()
	e := endpoint(t, w.org.ID, change...)
	require.NoError(t, w.Control.CreateEndpoint(t.Context(), actor, e))
	return storedEndpoint(e)
}

func requireEndpoint(t *testing.T, s Stores, want product.Endpoint) {
	t.Helper()
	got, err := s.Control.Endpoint(t.Context(), want.ID)
	require.NoError(t, err)
	requireSame(t, want, got)
	require.Equal(t, want.Secret.Reveal(), got.Secret.Reveal())
}

// auditTexts are what the audit log tells of an organization's webhooks.
func auditTexts(t *testing.T, s Stores, org ids.Org, action string) (texts []string) {
	t.Helper()
	entries, err := s.Marketplace.Audit(t.Context(), org, audit.Query{Action: action, Limit: 100})
	require.NoError(t, err)
	for _, e := range entries {
		texts = append(texts, string(e.Before)+" "+string(e.After))
	}
	return texts
}

var webhookTests = []testCase{
	{"an endpoint comes back as it was stored", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		first := w.endpoint(t)
		second := w.endpoint(t, func(e *product.Endpoint) {
			e.Events, e.Description, e.Disabled = []product.WebhookEvent{product.WebhookRunEnded}, "to the chat", true
		})
		requireEndpoint(t, s, first)
		requireEndpoint(t, s, second)
		list, err := s.Control.Endpoints(t.Context(), w.org.ID)
		require.NoError(t, err)
		requireSame(t, []product.Endpoint{second, first}, list)
		list, err = s.Control.Endpoints(t.Context(), anOrganization(t, s, "other").ID)
		require.NoError(t, err)
		require.Empty(t, list)
		_, err = s.Control.Endpoint(t.Context(), "whk_none")
		requireFault(t, err, fault.NotFound, "webhook_not_found")
	}},
	{"an organization has so many endpoints, and those of runs besides", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		failures := make([]error, product.MaxEndpoints+5)
		endpoints := make([]product.Endpoint, len(failures))
		for i := range endpoints {
			endpoints[i] = endpoint(t, w.org.ID)
		}
		together(len(failures), func(i int) { failures[i] = s.Control.CreateEndpoint(t.Context(), actor, endpoints[i]) })
		made := 0
		for _, err := range failures {
			if err == nil {
				made++
				continue
			}
			requireFault(t, err, fault.Conflict, "too_many_endpoints")
		}
		require.Equal(t, product.MaxEndpoints, made)
		run := w.queued(start)
		run.Webhook = new(endpoint(t, w.org.ID))
		w.create(t, run)
		err := s.Control.CreateEndpoint(t.Context(), actor, endpoint(t, "org_none"))
		requireFault(t, err, fault.NotFound, "organization_not_found")
	}},
	{"an endpoint changes, and the audit log tells it without secrets", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		e := w.endpoint(t)
		change := func(org ids.Org, change func(*product.Endpoint) error) (product.Endpoint, error) {
			return s.Control.UpdateEndpoint(t.Context(), actor, org, e.ID, change)
		}
		want := e
		want.URL, want.Events, want.Description, want.Disabled, want.UpdatedAt = "https://other.example.com/", []product.WebhookEvent{product.WebhookRunEnded},
			"changed", true, stored(after(time.Minute))
		got, err := change(w.org.ID, func(e *product.Endpoint) error {
			*e = want
			e.ID, e.OrgID, e.RunID, e.CreatedAt = "whk_other", "org_other", "run_other", after(time.Hour)
			return nil
		})
		require.NoError(t, err)
		requireSame(t, want, got)
		requireEndpoint(t, s, want)

		want.Secret, want.UpdatedAt = product.NewWebhookSecret(), stored(after(2*time.Minute))
		_, err = change(w.org.ID, func(e *product.Endpoint) error {
			e.Secret, e.UpdatedAt = want.Secret, want.UpdatedAt
			return nil
		})
		require.NoError(t, err)
		requireEndpoint(t, s, want)

		got, err = change(w.org.ID, func(e *product.Endpoint) error {
			e.UpdatedAt = after(time.Hour)
			return nil
		})
		require.NoError(t, err)
		requireSame(t, want, got)
		refused := errors.New("no")
		_, err = change(w.org.ID, func(*product.Endpoint) error { return refused })
		require.ErrorIs(t, err, refused)
		_, err = change(anOrganization(t, s, "other").ID, func(*product.Endpoint) error { return nil })
		requireFault(t, err, fault.NotFound, "webhook_not_found")

		texts := append(auditTexts(t, s, w.org.ID, "webhook.create"), auditTexts(t, s, w.org.ID, "webhook.update")...)
		texts = append(texts, auditTexts(t, s, w.org.ID, "webhook.rotate_secret")...)
		require.Len(t, texts, 3, "what changes nothing is not told")
		for _, text := range texts {
			require.NotContains(t, text, "secret")
			require.NotContains(t, text, e.Secret.Reveal())
		}
		require.Contains(t, texts[0], "hooks.example.com")
	}},
	{"a deleted endpoint is gone, and what was open to it has failed", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		e, other := w.endpoint(t), w.endpoint(t)
		open, done, beside := w.deliver(t, e), w.deliver(t, e), w.deliver(t, other)
		require.NoError(t, s.Control.RecordTry(t.Context(), done.ID,
			product.DeliveryTry{Number: 1, At: after(time.Second), StatusCode: 204}, product.DeliveryDelivered))
		err := s.Control.DeleteEndpoint(t.Context(), actor, anOrganization(t, s, "other").ID, e.ID, after(time.Minute))
		requireFault(t, err, fault.NotFound, "webhook_not_found")
		require.NoError(t, s.Control.DeleteEndpoint(t.Context(), actor, w.org.ID, e.ID, after(time.Minute)))
		_, err = s.Control.Endpoint(t.Context(), e.ID)
		requireFault(t, err, fault.NotFound, "webhook_not_found")
		err = s.Control.DeleteEndpoint(t.Context(), actor, w.org.ID, e.ID, after(time.Minute))
		requireFault(t, err, fault.NotFound, "webhook_not_found")

		open.Status, open.EndedAt = product.DeliveryFailed, stored(after(time.Minute))
		w.requireDelivery(t, open)
		require.Equal(t, product.DeliveryDelivered, w.delivery(t, done.ID).Status)
		w.requireDelivery(t, beside)
		require.Equal(t, []ids.Delivery{beside.ID}, w.claimDeliveries(t, after(time.Hour)), "nobody starts what has failed")
		require.Len(t, auditTexts(t, s, w.org.ID, "webhook.delete"), 1)
	}},
	{"the end of a run is told to those who want to know", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		all := w.endpoint(t)
		ended := w.endpoint(t, func(e *product.Endpoint) { e.Events = []product.WebhookEvent{product.WebhookRunEnded} })
		w.endpoint(t, func(e *product.Endpoint) { e.Events = []product.WebhookEvent{product.WebhookRunWaitingApproval} })
		w.endpoint(t, func(e *product.Endpoint) { e.Disabled = true })
		stranger := newWorldOf(t, s, "stranger")
		stranger.endpoint(t)
		run := w.queued(start)
		run.Webhook = new(endpoint(t, "org_none", func(e *product.Endpoint) { e.RunID = "run_none" }))
		own := run.Webhook.ID
		created := w.create(t, run)
		require.Nil(t, created.Webhook, "it is not loaded with the run")
		beside := w.queued(start)
		beside.Webhook = new(endpoint(t, w.org.ID))
		w.create(t, beside)

		require.Empty(t, w.claimDeliveries(t, after(time.Hour)), "nothing has happened")
		w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			e, err := r.BeginAttempt(1, after(time.Second))
			return []*product.Event{e}, err
		})
		require.Empty(t, w.claimDeliveries(t, after(time.Hour)), "nothing that is told of")
		settled := w.settle(t, run.ID, product.ReasonOK, after(time.Minute))
		w.settle(t, run.ID, product.ReasonCanceled, after(time.Hour))
		w.update(t, run.ID, func(r *product.Run) ([]*product.Event, error) {
			r.Message = "what changes after the end"
			return nil, nil
		})

		require.Empty(t, w.claimDeliveries(t, after(time.Minute-time.Microsecond)))
		due, err := s.Control.DueDeliveries(t.Context(), after(time.Minute), lease, 100)
		require.NoError(t, err)
		told := map[ids.Endpoint]product.Delivery{}
		for _, d := range due {
			told[d.EndpointID] = d
		}
		require.Len(t, due, 3)
		for _, id := range []ids.Endpoint{all.ID, ended.ID, own} {
			d := told[id]
			requireSame(t, product.Delivery{
				ID: d.ID, EndpointID: id, OrgID: w.org.ID, RunID: run.ID, Event: product.WebhookRunEnded, Status: product.DeliveryPending,
				Payload: product.RunPayload(product.WebhookRunEnded, settled, settled.FinishedAt), CreatedAt: stored(after(time.Minute)),
			}, d)
		}
		e, err := s.Control.Endpoint(t.Context(), own)
		require.NoError(t, err)
		requireSame(t, storedEndpoint(func() product.Endpoint {
			e := *run.Webhook
			e.OrgID, e.RunID = w.org.ID, run.ID
			return e
		}()), e)
		list, err := s.Control.Endpoints(t.Context(), w.org.ID)
		require.NoError(t, err)
		require.Len(t, list, 4, "those of runs are not among them")
	}},
	{"a run that waits for an approval is told of", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		w.endpoint(t, func(e *product.Endpoint) { e.Events = []product.WebhookEvent{product.WebhookRunEnded} })
		e := w.endpoint(t, func(e *product.Endpoint) { e.Events = []product.WebhookEvent{product.WebhookRunWaitingApproval} })
		run := w.create(t, w.queued(start))
		wait := func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{
				r.Planned(product.Plan{Version: "1.0.0", Approval: "it is dear"}, after(time.Second)), r.AwaitApproval(after(time.Second)),
			}, nil
		}
		w.update(t, run.ID, wait)
		w.update(t, run.ID, wait)
		due, err := s.Control.DueDeliveries(t.Context(), after(time.Second), lease, 100)
		require.NoError(t, err)
		require.Len(t, due, 1)
		require.Equal(t, e.ID, due[0].EndpointID)
		var payload struct {
			Type string
			Data struct{ Status string }
		}
		require.NoError(t, json.Unmarshal(due[0].Payload, &payload))
		require.Equal(t, "run.waiting_approval", payload.Type)
		require.Equal(t, "waiting_approval", payload.Data.Status)
	}},
	{"a change that is refused tells nobody", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		w.endpoint(t)
		run := w.create(t, w.queued(start))
		_, err := s.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.Settle(product.ReasonOK, "", start)}, errors.New("no")
		})
		require.Error(t, err)
		require.Empty(t, w.claimDeliveries(t, after(time.Hour)))
	}},
	{"the endpoint of a run is stored once", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		key := &product.IdempotencyKey{Key: "k", Fingerprint: "f"}
		var endpoints []ids.Endpoint
		for range 2 {
			run := w.queued(start)
			run.Webhook = new(endpoint(t, w.org.ID))
			endpoints = append(endpoints, run.Webhook.ID)
			_, _, err := s.Runs.CreateRun(t.Context(), run, []byte("{}"), key)
			require.NoError(t, err)
		}
		_, err := s.Control.Endpoint(t.Context(), endpoints[0])
		require.NoError(t, err)
		_, err = s.Control.Endpoint(t.Context(), endpoints[1])
		requireFault(t, err, fault.NotFound, "webhook_not_found")
	}},
}

// newWorldOf is newWorld with another organization.
func newWorldOf(t *testing.T, s Stores, name string) world {
	t.Helper()
	w := world{Stores: s, org: anOrganization(t, s, name)}
	w.agent, w.version = publish(t, s, w.org, "reviewer", "1.0.0", start)
	return w
}

// fillWebhooks uses every method of the stores of webhooks.
func fillWebhooks(t *testing.T, s Stores, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	w := world{Stores: s, org: org}
	var err error
	w.agent, err = s.Agents.AgentByName(ctx, org.Name, "agent-0")
	require.NoError(t, err)
	w.version, err = s.Agents.VersionByNumber(ctx, w.agent.ID, "1.0.0")
	require.NoError(t, err)
	kept, gone := w.endpoint(t), w.endpoint(t)
	run := w.queued(start)
	run.Agent, run.Webhook = org.Name+"/told", new(endpoint(t, org.ID)) // those of the agent are counted
	w.create(t, run)
	w.settle(t, run.ID, product.ReasonNotEntitled, after(time.Second))
	_, err = s.Control.RunEndpoint(ctx, org.ID, run.ID)
	require.NoError(t, err)
	_, err = s.Control.Endpoints(ctx, org.ID)
	require.NoError(t, err)
	_, err = s.Control.UpdateEndpoint(ctx, actor, org.ID, kept.ID, func(e *product.Endpoint) error {
		e.Description = "changed"
		return nil
	})
	require.NoError(t, err)
	d := w.deliver(t, kept)
	w.claimDeliveries(t, after(time.Hour))
	require.NoError(t, s.Control.DeliveryDispatched(ctx, d.ID, after(25*time.Hour)))
	require.NoError(t, s.Control.RecordTry(ctx, d.ID, product.DeliveryTry{Number: 1, At: start}, product.DeliveryDelivered))
	w.delivery(t, d.ID)
	for _, before := range []ids.Delivery{"", d.ID} {
		_, err = s.Control.Deliveries(ctx, kept.ID, before, 10)
		require.NoError(t, err)
	}
	removed, err := s.Control.RemoveDeliveries(ctx, time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.NotZero(t, removed)
	over := w.queued(start)
	over.Agent, over.Webhook = run.Agent, new(endpoint(t, org.ID, func(e *product.Endpoint) { e.Disabled = true }))
	w.create(t, over)
	w.settle(t, over.ID, product.ReasonNotEntitled, start)
	removed, err = s.Control.RemoveRunEndpoints(ctx, time.Now().Add(time.Hour), 1)
	require.NoError(t, err)
	require.NotZero(t, removed)
	w.deliver(t, gone)
	require.NoError(t, s.Control.DeleteEndpoint(ctx, actor, org.ID, gone.ID, after(time.Minute)))
}
