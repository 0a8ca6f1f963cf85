package activities

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"agentmarket/fault"
)

func TestRetryableCoversEveryKind(t *testing.T) {
	require.Len(t, retryable, len(fault.Kinds()))
	for _, kind := range fault.Kinds() {
		retry, known := retryable[kind]
		require.True(t, known, kind)

		secret := errors.New("dsn with a password")
		err := toTemporal(fmt.Errorf("load run: %w", fault.Wrap(kind, secret, "for people")))
		var app *temporal.ApplicationError
		require.ErrorAs(t, err, &app)
		require.Equal(t, string(kind), app.Type())
		require.Equal(t, !retry, app.NonRetryable(), kind)
		require.Equal(t, "for people", app.Message())
		require.NotContains(t, err.Error(), "password", "a history has many readers")

		f, ok := FaultOf(fmt.Errorf("activity: %w", err))
		require.True(t, ok)
		require.Equal(t, kind, f.Kind)
		require.Equal(t, "for people", f.Message)
		require.Equal(t, string(kind), f.Code)
	}
	for _, kind := range []fault.Kind{fault.Unavailable, fault.Internal, fault.RateLimited} {
		require.True(t, retryable[kind], "%s: time may mend it", kind)
	}
}

func TestToTemporalHidesTheUnknown(t *testing.T) {
	require.NoError(t, toTemporal(nil))
	var app *temporal.ApplicationError
	require.ErrorAs(t, toTemporal(errors.New("password")), &app)
	require.Equal(t, string(fault.Internal), app.Type())
	require.False(t, app.NonRetryable())
	require.NotContains(t, app.Error(), "password")
}

func TestFaultOfKeepsTheCode(t *testing.T) {
	details := func(values ...any) error {
		return temporal.NewApplicationErrorWithOptions("for people", string(fault.Forbidden),
			temporal.ApplicationErrorOptions{NonRetryable: true, Details: values})
	}
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"as it was":        {toTemporal(fault.New(fault.Forbidden, "consent_required", "for people")), "consent_required"},
		"an old history's": {details(), "forbidden"},
		"other details":    {details("a text"), "forbidden"},
	} {
		history := temporal.GetDefaultFailureConverter()
		f, ok := FaultOf(history.FailureToError(history.ErrorToFailure(tt.err)))
		require.True(t, ok, name)
		require.Equal(t, tt.want, f.Code, name)
		require.Equal(t, fault.Forbidden, f.Kind, name)
		require.Equal(t, "for people", f.Message, name)
	}
}

func TestFaultOfNothing(t *testing.T) {
	for name, err := range map[string]error{
		"nil":      nil,
		"plain":    errors.New("plain"),
		"canceled": temporal.NewCanceledError(),
		"timeout":  temporal.NewTimeoutError(enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, toTemporal(fault.New(fault.Unavailable, "", "away"))),
		"panic":    temporal.NewApplicationError("nil pointer", "PanicError"),
		"polling":  temporal.NewApplicationError("not yet", "not_yet"),
	} {
		f, ok := FaultOf(err)
		require.False(t, ok, name)
		require.Nil(t, f, name)
	}
}
