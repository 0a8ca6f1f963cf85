package activities

import (
	"errors"

	"go.temporal.io/sdk/temporal"

	"agentmarket/fault"
)

// retryable says which kinds another try may mend. Internal is retried, too: it
// is a bug or something unforeseen, and a deploy may mend it while the run
// waits.
var retryable = map[fault.Kind]bool{
	fault.Invalid:         false,
	fault.Unauthenticated: false,
	fault.PaymentRequired: false,
	fault.Forbidden:       false,
	fault.NotFound:        false,
	fault.Conflict:        false,
	fault.TooLarge:        false,
	fault.RateLimited:     true,
	fault.Unavailable:     true,
	fault.Internal:        true,
}

// toTemporal turns an error into an application error whose type is the fault's
// kind. Temporal looks at the outermost error only, so this is the last thing
// that an activity does with it. The cause stays behind: it may hold what the
// readers of a history must not see.
func toTemporal(err error) error {
	if err == nil {
		return nil
	}
	f := fault.From(err)
	return temporal.NewApplicationErrorWithOptions(f.Message, string(f.Kind), temporal.ApplicationErrorOptions{
		NonRetryable: !retryable[f.Kind],
		Details:      []any{errorDetails{Code: f.Code}},
	})
}

// errorDetails is what a history keeps of a fault beside its kind and message.
// Those of old histories have none.
type errorDetails struct {
	Code string `json:"code,omitempty"`
}

// FaultOf reads back, in a workflow, the fault that an activity failed with.
// Timeouts (whatever the last try died of), cancellations and panics carry none:
// false.
func FaultOf(err error) (*fault.Error, bool) {
	if temporal.IsTimeoutError(err) {
		return nil, false
	}
	return LastFaultOf(err)
}

// LastFaultOf is FaultOf that also says what the last try died of, when all of them
// ran out of time.
func LastFaultOf(err error) (*fault.Error, bool) {
	var app *temporal.ApplicationError
	if !errors.As(err, &app) {
		return nil, false
	}
	kind := fault.Kind(app.Type())
	if _, known := retryable[kind]; !known {
		return nil, false
	}
	var details errorDetails
	if app.HasDetails() {
		if err := app.Details(&details); err != nil { // a newer worker's: the kind says enough
			details = errorDetails{}
		}
	}
	return fault.New(kind, details.Code, app.Message()), true
}
