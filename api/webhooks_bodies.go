package api

import (
	"encoding/json"
	"time"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// webhookBody is an endpoint without its secret, which is shown once.
type webhookBody struct {
	ID          string      `json:"id" example:"whk_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	RunID       string      `json:"run_id,omitempty" doc:"The only run that it is told of; absent: all."`
	URL         string      `json:"url" example:"https://hooks.example.com/agentmarket"`
	Events      []string    `json:"events" doc:"What it is told of; empty: everything. The set may grow." example:"[\"run.ended\"]"`
	Description string      `json:"description,omitempty" example:"to the chat of the team"`
	Disabled    bool        `json:"disabled" doc:"It is told nothing. An endpoint that answers 410 is disabled by the platform."`
	CreatedAt   time.Time   `json:"created_at"`
	UpdatedAt   time.Time   `json:"updated_at"`
	URLs        webhookURLs `json:"urls"`
}

type webhookURLs struct {
	Self       string `json:"self"`
	Deliveries string `json:"deliveries"`
}

// newWebhookBody is an endpoint with its secret.
type newWebhookBody struct {
	Webhook webhookBody `json:"webhook"`
	Secret  string      `json:"secret" doc:"The key that signs the messages. Shown once: nobody can read it again." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
}

func webhookPath(org string, id ids.Endpoint) string {
	return organizationPath(org) + "/webhooks/" + string(id)
}

func webhookBodyOf(org marketplace.Organization, e product.Endpoint) webhookBody {
	self := webhookPath(org.Name, e.ID)
	return webhookBody{
		ID: string(e.ID), RunID: string(e.RunID), URL: e.URL, Events: textsOf(e.Events), Description: e.Description, Disabled: e.Disabled,
		CreatedAt: e.CreatedAt.UTC(), UpdatedAt: e.UpdatedAt.UTC(), URLs: webhookURLs{Self: self, Deliveries: self + "/deliveries"},
	}
}

// deliveryBody is a message to an endpoint.
type deliveryBody struct {
	ID        string          `json:"id" doc:"The header webhook-id of every try." example:"msg_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Event     string          `json:"event" doc:"run.ended, run.waiting_approval or webhook.test. The set may grow." example:"run.ended"`
	RunID     string          `json:"run_id,omitempty" doc:"Absent: a test."`
	Status    string          `json:"status" doc:"pending, delivered or failed." example:"delivered"`
	CreatedAt time.Time       `json:"created_at"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty" doc:"The body of the message. Not in lists."`
	Tries     []tryBody       `json:"tries,omitempty" doc:"Oldest first. Not in lists."`
	URLs      selfURL         `json:"urls"`
}

// tryBody is one request to an endpoint.
type tryBody struct {
	Number          int       `json:"number"`
	At              time.Time `json:"at"`
	DurationSeconds float64   `json:"duration_seconds" example:"0.25"`
	StatusCode      int       `json:"status_code,omitempty" doc:"Absent: there was no answer." example:"503"`
	Error           string    `json:"error,omitempty" doc:"For people; absent: the message was accepted." example:"the endpoint answered 503"`
}

// deliverySummaryOf is a delivery in a list.
func deliverySummaryOf(org marketplace.Organization, d product.Delivery) deliveryBody {
	return deliveryBody{
		ID: string(d.ID), Event: string(d.Event), RunID: string(d.RunID), Status: string(d.Status),
		CreatedAt: d.CreatedAt.UTC(), EndedAt: when(d.EndedAt),
		URLs: selfURL{webhookPath(org.Name, d.EndpointID) + "/deliveries/" + string(d.ID)},
	}
}

func deliveryBodyOf(org marketplace.Organization, d product.Delivery) deliveryBody {
	body := deliverySummaryOf(org, d)
	body.Payload = d.Payload
	for _, t := range d.Tries {
		body.Tries = append(body.Tries, tryBody{
			Number: t.Number, At: t.At.UTC(), DurationSeconds: t.Duration.Seconds(), StatusCode: t.StatusCode, Error: t.Error,
		})
	}
	return body
}
