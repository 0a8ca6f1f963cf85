package webhooks_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"agentmarket/activities"
	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
	"agentmarket/webhooks"
	"agentmarket/workflows"
)

var setUp = audit.System("test")

// platform is everything between the end of a run and an endpoint, but for
// Temporal: a real store, real activities and the real sender.
type platform struct {
	db    *store.DB
	org   ids.Org
	edge  *activities.Webhooks
	start time.Time
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{db: storetest.SQLite(t), start: time.Now()}
	org, err := marketplace.NewOrganization("acme", p.start)
	require.NoError(t, err)
	require.NoError(t, p.db.Marketplace().CreateOrganization(t.Context(), setUp, org))
	p.org = org.ID
	p.edge = &activities.Webhooks{
		Endpoints: p.db.Product(), Deliveries: p.db.Product(), Sender: webhooks.New(webhooks.Config{Insecure: true}), Now: time.Now,
	}
	return p
}

// endRun starts a run of which the receiver is to be told, and ends it. It returns
// the delivery that is due then.
func (p *platform) endRun(t *testing.T, to *receiver) (product.Run, product.Delivery) {
	t.Helper()
	agent := product.Agent{ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: p.org, Publisher: "acme", Name: "greeter", CreatedAt: p.start, UpdatedAt: p.start}
	version, err := product.NewVersion(agent.ID, agentruntime.Manifest{
		APIVersion: agentruntime.APIVersion, Name: "greeter", Version: "1.0.0", Summary: "Greets.", Command: []string{"/greeter"},
		InputSchema: json.RawMessage(`{}`), Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(),
	}, "registry.test/greeter@sha256:"+image, p.start)
	require.NoError(t, err)
	agent, version, _, err = p.db.Agents().AddVersion(t.Context(), setUp, agent, version)
	require.NoError(t, err)
	run, _, err := p.db.Runs().CreateRun(t.Context(), product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: p.org, AgentID: agent.ID, Agent: agent.FullName(), VersionID: version.ID,
		Version: version.Number, Image: version.Image, Status: product.StatusQueued, CreatedAt: p.start, Webhook: &to.endpoint,
		Labels: map[string]string{"team": "blue"},
	}, []byte(`{"prompt":"the input"}`), nil)
	require.NoError(t, err)
	run, err = p.db.Runs().UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Settle(product.ReasonNotEntitled, "not entitled", time.Now())}, nil
	})
	require.NoError(t, err)
	due, err := p.db.Product().DueDeliveries(t.Context(), time.Now(), time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
	return run, due[0]
}

const image = "8f1f0c5a2a0c3c9d4d0fda4b8e0e7b9c6a5d4e3f2b1a0918273645546372819a"

// deliver runs the workflow of a delivery, skipping the pauses. It returns the
// result, and how long it would have taken.
func (p *platform) deliver(t *testing.T, d product.Delivery) (product.DeliveryStatus, time.Duration) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.RegisterWorkflow(workflows.DeliverWebhook)
	env.RegisterActivity(p.edge)
	began := env.Now()
	env.ExecuteWorkflow(workflows.DeliverWebhook, workflows.DeliverWebhookInput{DeliveryID: d.ID})
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
	var result workflows.DeliverWebhookResult
	require.NoError(t, env.GetWorkflowResult(&result))
	return result.Status, env.Now().Sub(began)
}

func (p *platform) delivery(t *testing.T, id ids.Delivery) product.Delivery {
	t.Helper()
	d, err := p.db.Product().Delivery(t.Context(), id)
	require.NoError(t, err)
	return d
}

// TestDeliveredOnce: a receiver that is down for the first five tries gets exactly
// one accepted delivery, verified.
func TestDeliveredOnce(t *testing.T) {
	down := []http.HandlerFunc{
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		status(http.StatusInternalServerError),
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/login")
			w.WriteHeader(http.StatusFound)
		},
		status(http.StatusBadGateway),
	}
	var accepted []string
	var identifiers []string
	r := receive(t, nil)
	r.answer = func(w http.ResponseWriter, request *http.Request) { // after the library has verified it
		identifiers = append(identifiers, request.Header.Get("webhook-id"))
		if n := len(identifiers); n <= len(down) {
			down[n-1](w, request)
			return
		}
		body, _ := io.ReadAll(request.Body)
		accepted = append(accepted, string(body))
		w.WriteHeader(http.StatusNoContent)
	}
	p := newPlatform(t)
	run, d := p.endRun(t, r)

	end, took := p.deliver(t, d)
	require.Equal(t, product.DeliveryDelivered, end)
	require.Len(t, accepted, 1)
	require.Equal(t, string(product.RunPayload(product.WebhookRunEnded, run, run.FinishedAt)), accepted[0])
	require.Equal(t, []string{string(d.ID), string(d.ID), string(d.ID), string(d.ID), string(d.ID), string(d.ID)}, identifiers)
	require.InDelta(t, 5+10+600+40+80, took.Seconds(), 60, "the pauses double, and the one that was asked for is kept")

	kept := p.delivery(t, d.ID)
	require.Equal(t, product.DeliveryDelivered, kept.Status)
	var codes []int
	var errs []string
	for i, try := range kept.Tries {
		require.Equal(t, i+1, try.Number)
		codes, errs = append(codes, try.StatusCode), append(errs, try.Error)
	}
	require.Equal(t, []int{0, 500, 503, 302, 502, 204}, codes)
	require.Equal(t, []string{"the connection failed", "the endpoint answered 500", "the endpoint answered 503",
		"the endpoint answered 302", "the endpoint answered 502", ""}, errs)

	end, _ = p.deliver(t, d) // started twice, whatever Temporal says
	require.Equal(t, product.DeliveryDelivered, end)
	require.Len(t, accepted, 1, "what was accepted is never sent again")
}

// TestPayloadIsThin: neither what went into a run nor a secret leaves the platform.
func TestPayloadIsThin(t *testing.T) {
	var body []byte
	r := receive(t, func(_ http.ResponseWriter, request *http.Request) { body, _ = io.ReadAll(request.Body) })
	p := newPlatform(t)
	_, d := p.endRun(t, r)
	p.deliver(t, d)
	require.Contains(t, string(body), `"status":"rejected"`)
	require.NotContains(t, string(body), "the input")
	require.NotContains(t, string(body), r.endpoint.Secret.Reveal())
}

// amnesia is a store that cannot take the record of some tries.
type amnesia struct {
	product.DeliveryStore
	fails int
}

func (s *amnesia) RecordTry(ctx context.Context, id ids.Delivery, t product.DeliveryTry, status product.DeliveryStatus) error {
	if s.fails > 0 {
		s.fails--
		return fault.New(fault.Unavailable, "", "the database cannot answer at the moment")
	}
	return s.DeliveryStore.RecordTry(ctx, id, t, status)
}

// TestStoreAwayAfterTheAnswer: a message that was accepted is not sent again
// because its record had to wait.
func TestStoreAwayAfterTheAnswer(t *testing.T) {
	r := receive(t, status(http.StatusOK))
	p := newPlatform(t)
	_, d := p.endRun(t, r)
	p.edge.Deliveries = &amnesia{DeliveryStore: p.edge.Deliveries, fails: 7}
	end, _ := p.deliver(t, d)
	require.Equal(t, product.DeliveryDelivered, end)
	require.Equal(t, 1, r.asked)
	kept := p.delivery(t, d.ID)
	require.Equal(t, product.DeliveryDelivered, kept.Status)
	require.Len(t, kept.Tries, 1)
	require.Equal(t, http.StatusOK, kept.Tries[0].StatusCode)
}

// TestTimeIsUp: who does not come back within the time is given up.
func TestTimeIsUp(t *testing.T) {
	r := receive(t, status(http.StatusServiceUnavailable))
	p := newPlatform(t)
	_, d := p.endRun(t, r)
	end, took := p.deliver(t, d)
	require.Equal(t, product.DeliveryFailed, end)
	require.LessOrEqual(t, took, product.DeliveryTime)
	require.Greater(t, took, product.DeliveryTime-activities.LongestDeliveryPause-time.Minute)
	kept := p.delivery(t, d.ID)
	require.Equal(t, product.DeliveryFailed, kept.Status)
	require.Len(t, kept.Tries, r.asked)
	require.Greater(t, r.asked, 15)
	require.Less(t, r.asked, 30)
}

// TestGone: an endpoint that says so is left alone.
func TestGone(t *testing.T) {
	r := receive(t, status(http.StatusGone))
	p := newPlatform(t)
	_, d := p.endRun(t, r)
	end, _ := p.deliver(t, d)
	require.Equal(t, product.DeliveryFailed, end)
	require.Equal(t, 1, r.asked)
	e, err := p.db.Product().Endpoint(t.Context(), d.EndpointID)
	require.NoError(t, err)
	require.True(t, e.Disabled)

	again := product.NewDelivery(e, "", product.WebhookTest, []byte(`{}`), time.Now())
	require.NoError(t, p.db.Product().CreateDelivery(t.Context(), again))
	end, _ = p.deliver(t, again)
	require.Equal(t, product.DeliveryFailed, end)
	require.Equal(t, 1, r.asked, "a disabled endpoint is told nothing")
	require.Empty(t, p.delivery(t, again.ID).Tries)
}

// TestMovedMeanwhile: an owner who changes the address before the old one says that
// it is gone keeps the webhook, and the message goes to the new one.
func TestMovedMeanwhile(t *testing.T) {
	p := newPlatform(t)
	var d product.Delivery
	var asked []string
	r := receive(t, nil)
	r.answer = func(w http.ResponseWriter, request *http.Request) {
		asked = append(asked, request.URL.Path)
		if request.URL.Path == "/moved" {
			return
		}
		_, err := p.db.Product().UpdateEndpoint(context.Background(), setUp, p.org, d.EndpointID, func(e *product.Endpoint) error {
			e.URL = r.URL + "/moved"
			return nil
		})
		if err == nil {
			w.WriteHeader(http.StatusGone)
		}
	}
	_, d = p.endRun(t, r)
	end, _ := p.deliver(t, d)
	require.Equal(t, product.DeliveryDelivered, end)
	require.Equal(t, []string{"/hooks", "/moved"}, asked)
	e, err := p.db.Product().Endpoint(t.Context(), d.EndpointID)
	require.NoError(t, err)
	require.False(t, e.Disabled)
}

// TestDeletedMeanwhile: an endpoint that is deleted between two tries is told
// nothing more.
func TestDeletedMeanwhile(t *testing.T) {
	p := newPlatform(t)
	var d product.Delivery
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = p.db.Product().DeleteEndpoint(context.Background(), setUp, p.org, d.EndpointID, time.Now())
		w.WriteHeader(http.StatusInternalServerError)
	})
	_, d = p.endRun(t, r)
	end, _ := p.deliver(t, d)
	require.Equal(t, product.DeliveryFailed, end)
	require.Equal(t, 1, r.asked)

	orphan := product.NewDelivery(r.endpoint, "", product.WebhookTest, []byte(`{}`), time.Now())
	orphan.OrgID = p.org
	require.NoError(t, p.db.Product().CreateDelivery(t.Context(), orphan)) // of a run that ended at the same moment
	end, _ = p.deliver(t, orphan)
	require.Equal(t, product.DeliveryFailed, end)
	require.Equal(t, 1, r.asked)
}
