package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/ids"
	"agentmarket/product"
)

const (
	webhooks    = "/v1/organizations/acme/webhooks"
	webhookURL  = "https://hooks.example.com/agentmarket"
	ownSecret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8G"
)

// newWebhook names an address, and returns its path and its secret.
func (f *fixture) newWebhook(body string) (path, secret string) {
	f.t.Helper()
	got := f.post(webhooks, body)
	made := f.requireStatus(http.StatusCreated, got)
	require.Equal(f.t, webhooks+"/"+textAt(made, "webhook", "id"), got.header.Get("Location"))
	return got.header.Get("Location"), textAt(made, "secret")
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.Empty(t, f.items(f.get(webhooks), "id"))
	first, secret := f.newWebhook(`{"url":"` + webhookURL + `"}`)
	require.NoError(t, product.CheckWebhookSecret(secret))
	second, own := f.newWebhook(`{"url":"https://other.example.com/","secret":"` + ownSecret + `","events":["run.ended"],"description":"to the chat"}`)
	require.Equal(t, ownSecret, own)

	require.Equal(t, []string{"https://other.example.com/", webhookURL}, f.items(f.get(webhooks), "url"))
	got := f.requireStatus(http.StatusOK, f.get(second))
	require.Equal(t, []any{"run.ended"}, got["events"])
	require.Equal(t, "to the chat", got["description"])
	require.Equal(t, []any{}, f.requireStatus(http.StatusOK, f.get(first))["events"], "everything")
	for _, path := range []string{webhooks, first, second} {
		require.NotContains(t, f.get(path).text, "whsec_", "it is shown once")
	}

	changed := f.requireStatus(http.StatusOK, f.send(http.MethodPatch, second, `{"events":[],"disabled":true}`, ""))
	require.Equal(t, []any{}, changed["events"])
	require.Equal(t, true, changed["disabled"])
	require.Equal(t, "to the chat", changed["description"], "what is left out stays")
	changed = f.requireStatus(http.StatusOK, f.send(http.MethodPatch, second, `{"url":"https://new.example.com/","description":"","disabled":false}`, ""))
	require.Equal(t, "https://new.example.com/", changed["url"])
	require.NotContains(t, changed, "description")

	rotated := textAt(f.requireStatus(http.StatusOK, f.post(second+"/rotate-secret", "")), "secret")
	require.NotEqual(t, ownSecret, rotated)
	require.Equal(t, otherSecret, textAt(f.requireStatus(http.StatusOK, f.post(second+"/rotate-secret", `{"secret":"`+otherSecret+`"}`)), "secret"))
	e, err := f.server.Control.Endpoint(t.Context(), ids.Endpoint(changed["id"].(string)))
	require.NoError(t, err)
	require.Equal(t, otherSecret, e.Secret.Reveal())

	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, first, "", "").status)
	f.requireCode(http.StatusNotFound, "webhook_not_found", f.get(first))
	f.requireCode(http.StatusNotFound, "webhook_not_found", f.send(http.MethodDelete, first, "", ""))
	require.NotContains(t, f.log.String(), "whsec_")
	require.NotContains(t, f.get("/v1/organizations/acme/audit-log?limit=200").text, "whsec_")
}

func TestWebhookRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for body, pointer := range map[string]string{
		`{}`:                                "/url",
		`{"url":""}`:                        "/url",
		`{"url":"http://example.com/"}`:     "/url",
		`{"url":"https://u:p@example.com"}`: "/url",
		`{"url":"https://example.com/#a"}`:  "/url",
		`{"url":"https://` + strings.Repeat("a", 2000) + `"}`:                           "/url",
		`{"url":"https://bücher.example/` + strings.Repeat("ü", 1000) + `"}`:            "/url",
		`{"url":"` + webhookURL + `","secret":"whsec_c2hvcnQ="}`:                        "/secret",
		`{"url":"` + webhookURL + `","secret":""}`:                                      "/secret",
		`{"url":"` + webhookURL + `","events":["webhook.test"]}`:                        "/events/0",
		`{"url":"` + webhookURL + `","events":["run.ended","run.ended"]}`:               "/events",
		`{"url":"` + webhookURL + `","description":"two\nlines"}`:                       "/description",
		`{"url":"` + webhookURL + `","description":"` + strings.Repeat("a", 201) + `"}`: "/description",
		`{"url":"` + webhookURL + `","run_id":"run_1"}`:                                 "/run_id",
	} {
		got := f.post(webhooks, body)
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", got, pointer)
		require.NotContains(t, got.text, "c2hvcnQ=", "a secret is not repeated")
	}
	path, _ := f.newWebhook(`{"url":"` + webhookURL + `"}`)
	for body, pointer := range map[string]string{
		`{"url":"http://example.com/"}`: "/url", `{"description":"two\nlines"}`: "/description", `{"events":["other"]}`: "/events/0",
		`{"secret":"` + ownSecret + `"}`: "/secret", `{"disabled":"yes"}`: "/disabled",
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPatch, path, body, ""), pointer)
	}
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.post(path+"/rotate-secret", `{"secret":"whsec_c2hvcnQ="}`), "/secret")

	insecure := newFixture(t, func(s *api.Server) { s.WebhookInsecure = true })
	insecure.newWebhook(`{"url":"http://127.0.0.1:8080/"}`)
}

func TestTooManyWebhooks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range product.MaxEndpoints {
		f.newWebhook(fmt.Sprintf(`{"url":"https://%d.example.com/"}`, i))
	}
	f.requireCode(http.StatusConflict, "too_many_endpoints", f.post(webhooks, `{"url":"`+webhookURL+`"}`))
}

func TestTooManyDeliveries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path, _ := f.newWebhook(`{"url":"` + webhookURL + `"}`)
	first := textAt(f.requireStatus(http.StatusAccepted, f.post(path+"/test", "")), "id")
	d, err := f.server.Control.Delivery(t.Context(), ids.Delivery(first))
	require.NoError(t, err)
	to := product.Endpoint{ID: d.EndpointID, OrgID: d.OrgID}
	for range product.MaxPendingDeliveries - 1 {
		require.NoError(t, f.server.Control.CreateDelivery(t.Context(), product.NewDelivery(to, "", d.Event, d.Payload, d.CreatedAt)))
	}
	f.requireCode(http.StatusTooManyRequests, "too_many_deliveries", f.post(path+"/test", ""))
	f.requireCode(http.StatusTooManyRequests, "too_many_deliveries", f.post(path+"/deliveries/"+first+"/redeliver", ""))
	other, _ := f.newWebhook(`{"url":"` + webhookURL + `"}`)
	f.requireStatus(http.StatusAccepted, f.post(other+"/test", ""))
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path, _ := f.newWebhook(`{"url":"` + webhookURL + `"}`)
	other, _ := f.newWebhook(`{"url":"` + webhookURL + `","events":["run.waiting_approval"]}`)
	run := f.started()
	f.settle(run, product.ReasonOK, "")
	test := f.post(path+"/test", "")
	sent := f.requireStatus(http.StatusAccepted, test)
	require.Equal(t, "webhook.test", sent["event"])
	require.Equal(t, "pending", sent["status"])
	require.Equal(t, "webhook.test", textAt(sent, "payload", "type"))

	require.Equal(t, []string{"webhook.test", "run.ended"}, f.items(f.get(path+"/deliveries"), "event"))
	page := f.get(path + "/deliveries?limit=1")
	require.Equal(t, []string{"webhook.test"}, f.items(page, "event"))
	next := f.get(path + "/deliveries?limit=1&cursor=" + page.json(t)["next_cursor"].(string))
	require.Equal(t, []string{"run.ended"}, f.items(next, "event"))
	require.Equal(t, []string{string(run)}, f.items(next, "run_id"))
	require.NotContains(t, next.text, "payload")
	require.Empty(t, f.items(f.get(other+"/deliveries"), "id"))
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get(path+"/deliveries?cursor=x"), "cursor")

	id := f.items(next, "id")[0]
	store := f.server.Control
	try := product.DeliveryTry{Number: 1, At: now, Duration: 250_000_000, StatusCode: 503, Error: "the endpoint answered 503"}
	require.NoError(t, store.RecordTry(t.Context(), ids.Delivery(id), try, product.DeliveryPending))
	require.NoError(t, store.RecordTry(t.Context(), ids.Delivery(id), product.DeliveryTry{Number: 2, At: now, StatusCode: 204}, product.DeliveryDelivered))
	got := f.requireStatus(http.StatusOK, f.get(path+"/deliveries/"+id))
	require.Equal(t, "delivered", got["status"])
	require.Equal(t, string(run), textAt(got, "payload", "data", "run_id"))
	require.Equal(t, []any{
		map[string]any{"number": 1., "at": "2026-11-22T12:00:00Z", "duration_seconds": 0.25, "status_code": 503., "error": "the endpoint answered 503"},
		map[string]any{"number": 2., "at": "2026-11-22T12:00:00Z", "duration_seconds": 0., "status_code": 204.},
	}, got["tries"])

	again := f.post(path+"/deliveries/"+id+"/redeliver", "")
	copied := f.requireStatus(http.StatusAccepted, again)
	require.NotEqual(t, id, copied["id"])
	require.Equal(t, got["payload"], copied["payload"])
	require.Equal(t, "pending", copied["status"])
	require.Equal(t, copied["id"], f.requireStatus(http.StatusOK, f.get(again.header.Get("Location")))["id"])

	f.requireCode(http.StatusNotFound, "delivery_not_found", f.get(other+"/deliveries/"+id))
	f.requireCode(http.StatusNotFound, "delivery_not_found", f.get(path+"/deliveries/msg_1"))
	f.requireStatus(http.StatusOK, f.send(http.MethodPatch, path, `{"disabled":true}`, ""))
	f.requireCode(http.StatusConflict, "webhook_disabled", f.post(path+"/test", ""))
	f.requireCode(http.StatusConflict, "webhook_disabled", f.post(path+"/deliveries/"+id+"/redeliver", ""))
}
