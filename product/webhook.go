package product

import (
	"time"

	"agentmarket/ids"
)

// Endpoint is an address that is told of the runs of an organization, by the
// Standard Webhooks specification.
type Endpoint struct {
	ID    ids.Endpoint
	OrgID ids.Org
	// RunID is set for the address that came with the start of one run.
	RunID ids.Run
	URL   string
	// Secret signs the messages: whsec_… . It is shown once.
	Secret      WebhookSecret
	Events      []WebhookEvent // which it is told of; empty: all
	Description string
	Disabled    bool
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// WebhookSecret is the key of an endpoint. It never shows itself.
type WebhookSecret string

// String implements fmt.Stringer.
func (WebhookSecret) String() string { return "[secret]" }

// GoString implements fmt.GoStringer.
func (WebhookSecret) GoString() string { return "[secret]" }

// MarshalText keeps the secret out of encodings.
func (WebhookSecret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Reveal returns the secret itself.
func (s WebhookSecret) Reveal() string { return string(s) }

// WebhookEvent is a type of message.
type WebhookEvent string

// The types of messages. The set may grow.
const (
	WebhookRunEnded           WebhookEvent = "run.ended"
	WebhookRunWaitingApproval WebhookEvent = "run.waiting_approval"
	WebhookTest               WebhookEvent = "webhook.test"
)

// Delivery is a message to an endpoint, with what became of it.
type Delivery struct {
	ID         ids.Delivery // the header webhook-id: the same in every try
	EndpointID ids.Endpoint
	OrgID      ids.Org
	RunID      ids.Run // empty: a test
	Event      WebhookEvent
	Payload    []byte // JSON, the same in every try until data of the run is removed
	Status     DeliveryStatus
	Tries      []DeliveryTry // oldest first
	CreatedAt  time.Time
	EndedAt    time.Time
}

// NextTry is the number of the next try. It needs the tries.
func (d Delivery) NextTry() int {
	if n := len(d.Tries); n > 0 {
		return d.Tries[n-1].Number + 1
	}
	return 1
}

// MissedAt is when somebody looks whether a delivery that goes on now has been lost:
// an hour after its time, and at least one from now.
func (d Delivery) MissedAt(now time.Time) time.Time {
	missed, soonest := d.CreatedAt.Add(DeliveryTime+time.Hour), now.Add(time.Hour)
	if missed.Before(soonest) {
		return soonest
	}
	return missed
}

// DeliveryStatus is what became of a delivery.
type DeliveryStatus string

// The states.
const (
	DeliveryPending   DeliveryStatus = "pending"
	DeliveryDelivered DeliveryStatus = "delivered"
	DeliveryFailed    DeliveryStatus = "failed" // not within its time, too many before it, or the endpoint is gone
)

// DeliveryTry is one request to an endpoint.
type DeliveryTry struct {
	Number     int
	At         time.Time
	Duration   time.Duration
	StatusCode int    // 0: no answer
	Error      string // for people; empty: none
}

// WebhookAnswer is what an endpoint said to a try.
type WebhookAnswer struct {
	StatusCode int
	// RetryAfter is how long it asks to be left alone; 0: it does not.
	RetryAfter time.Duration
}

// Accepted reports whether the endpoint took the message.
func (a WebhookAnswer) Accepted() bool { return a.StatusCode >= 200 && a.StatusCode <= 299 }

// statusGone is how a receiver says that it is not there any more: a layer knows
// no package of HTTP.
const statusGone = 410

// Gone reports whether the endpoint wants no message any more.
func (a WebhookAnswer) Gone() bool { return a.StatusCode == statusGone }

// The bounds of webhooks.
const (
	MaxEndpoints  = 20   // of an organization, without those of runs
	MaxWebhookURL = 2000 // bytes
	// MaxPendingDeliveries is how many deliveries to an endpoint may be pending.
	// Those made at the same moment do not see each other, and may exceed it.
	MaxPendingDeliveries = 1000
	// DeliveryTime is how long a delivery is tried.
	DeliveryTime = 24 * time.Hour
	// DeliveryKept is how long a delivery is kept.
	DeliveryKept = 30 * 24 * time.Hour
)
