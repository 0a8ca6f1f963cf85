package product

import (
	"encoding/json"
	"time"

	"agentmarket/ids"
	"agentmarket/money"
)

// webhookMessage is the form of every payload. Payloads are thin: who wants more than
// what happened asks the API for it, with a key.
type webhookMessage[T any] struct {
	Type      WebhookEvent `json:"type"`
	Timestamp time.Time    `json:"timestamp"`
	Data      T            `json:"data"`
}

// runData is a run in a payload, without what went in and what came out. Members
// are added, never renamed.
type runData struct {
	RunID      ids.Run           `json:"run_id"`
	Agent      string            `json:"agent"`
	Version    string            `json:"version"`
	Status     Status            `json:"status"`
	Reason     Reason            `json:"reason"`
	Cause      Cause             `json:"cause"`
	Message    string            `json:"message"`
	Labels     map[string]string `json:"labels"`
	Cost       *costData         `json:"cost"` // null until settled
	CreatedAt  time.Time         `json:"created_at"`
	FinishedAt *time.Time        `json:"finished_at"` // null until ended
	Origin     originData        `json:"origin"`
}

type costData struct {
	Micros   int64  `json:"amount_micros"`
	Currency string `json:"currency"`
}

type originData struct {
	Kind       OriginKind   `json:"kind"`
	ScheduleID ids.Schedule `json:"schedule_id,omitempty"`
	RetryOf    ids.Run      `json:"retry_of,omitempty"`
	ParentID   ids.Run      `json:"parent_id,omitempty"`
	RootID     ids.Run      `json:"root_id,omitempty"`
}

// WebhookEventOf says what endpoints are told of a run that changed from a status,
// and when it happened; the empty event: nothing.
func WebhookEventOf(before Status, r Run) (WebhookEvent, time.Time) {
	switch {
	case r.Status == before:
		return "", time.Time{}
	case r.Status.Terminal():
		return WebhookRunEnded, r.FinishedAt
	case r.Status == StatusWaitingApproval && r.Approval != nil:
		return WebhookRunWaitingApproval, r.Approval.RequestedAt
	}
	return "", time.Time{}
}

// RunPayload is the body of a message about a run.
func RunPayload(event WebhookEvent, r Run, at time.Time) []byte {
	labels := r.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	data := runData{
		RunID: r.ID, Agent: r.Agent, Version: r.Version, Status: r.Status, Reason: r.Reason, Cause: r.Cause, Message: r.Message,
		Labels: labels, Cost: costDataOf(r.Cost), CreatedAt: r.CreatedAt.UTC(),
		Origin: originData{
			Kind: r.Origin.Kind, ScheduleID: r.Origin.ScheduleID, RetryOf: r.Origin.RetryOf,
			ParentID: r.Origin.ParentID, RootID: r.Origin.RootID,
		},
	}
	if !r.FinishedAt.IsZero() {
		data.FinishedAt = new(r.FinishedAt.UTC())
	}
	return payload(event, data, at)
}

// TestPayload is the body of a message that somebody sends to see whether an
// endpoint takes it.
func TestPayload(endpoint ids.Endpoint, at time.Time) []byte {
	return payload(WebhookTest, struct {
		EndpointID ids.Endpoint `json:"webhook_id"`
	}{endpoint}, at)
}

func payload[T any](event WebhookEvent, data T, at time.Time) []byte {
	// Texts and numbers alone: there is nothing that cannot be encoded.
	body, _ := json.Marshal(webhookMessage[T]{event, at.UTC(), data})
	return body
}

func costDataOf(cost money.Amount) *costData {
	if cost.Currency == "" {
		return nil
	}
	return &costData{cost.Micros, cost.Currency}
}
