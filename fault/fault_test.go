package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
)

func TestKindSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("load run: %w", fault.New(fault.NotFound, "run_not_found", "no such run"))
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.True(t, fault.Is(err, fault.NotFound))
	require.Equal(t, "run_not_found", fault.From(err).Code)
}

func TestUnknownErrorsAreInternalAndKeepTheirTextFromCallers(t *testing.T) {
	cause := errors.New("pq: password authentication failed for user bob")
	f := fault.From(cause)
	require.Equal(t, fault.Internal, f.Kind)
	require.Equal(t, "internal error", f.Message)
	require.ErrorIs(t, f, cause)
}

func TestNilIsNoFault(t *testing.T) {
	require.Nil(t, fault.From(nil))
	require.False(t, fault.Is(nil, fault.Internal))
}
