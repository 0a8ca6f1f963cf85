// Package httpfault says how kinds of faults look in HTTP: one table for every server of
// the platform.
package httpfault

import (
	"net/http"

	"agentmarket/fault"
)

const (
	// ContentType is that of problem documents (RFC 9457).
	ContentType = "application/problem+json"
	// Types begins the type of a problem; its code follows.
	Types = "https://agentmarket.dev/problems/"
	// RetryAfterSeconds is told with 503: a dependency that is away is seldom back
	// sooner.
	RetryAfterSeconds = 2
)

var statuses = map[fault.Kind]int{
	fault.Invalid:         http.StatusUnprocessableEntity,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.PaymentRequired: http.StatusPaymentRequired,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.RateLimited:     http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Internal:        http.StatusInternalServerError,
}

// Status is the HTTP status of a kind; false: there is no such kind.
func Status(kind fault.Kind) (int, bool) {
	status, known := statuses[kind]
	return status, known
}
